"""Stands where TRELLIS would: the same names and signatures as its code, a lump of clay for a network."""
