"""Stands where TRELLIS.2 would; see ``trellis``."""
