"""Generated from protos/lensora/detect; never edited."""
