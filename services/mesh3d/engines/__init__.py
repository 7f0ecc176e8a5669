"""The mesh3d engines, one a file; the file name is the engine name."""
