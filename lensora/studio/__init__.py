"""Generated from protos/lensora/studio; never edited."""
