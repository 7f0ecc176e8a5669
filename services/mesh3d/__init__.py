"""The mesh3d stage."""
