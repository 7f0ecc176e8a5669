"""Generated from protos/lensora/render; never edited."""
