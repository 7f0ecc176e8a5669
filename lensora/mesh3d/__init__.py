"""Generated from protos/lensora/mesh3d; never edited."""
