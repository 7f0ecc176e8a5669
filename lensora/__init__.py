"""Lensora Studio: one photo in, a film of its subject as a 3D object out."""
