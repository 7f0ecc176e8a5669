"""The background stage."""
