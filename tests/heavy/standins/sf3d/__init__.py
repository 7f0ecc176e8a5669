"""Stands where Stable Fast 3D would; see ``trellis``."""
