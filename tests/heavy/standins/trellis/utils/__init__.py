"""See ``trellis``."""
