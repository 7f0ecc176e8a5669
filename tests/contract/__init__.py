"""A package, so that its shared servers end with its last test."""
