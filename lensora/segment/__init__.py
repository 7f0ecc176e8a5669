"""Generated from protos/lensora/segment; never edited."""
