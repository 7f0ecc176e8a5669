"""Generated from protos/lensora/type; never edited."""
