"""Pure functions that the mesh3d engines share."""
