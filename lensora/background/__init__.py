"""Generated from protos/lensora/background; never edited."""
