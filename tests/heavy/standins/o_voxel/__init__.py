"""Stands where TRELLIS.2's o_voxel would; see ``trellis``."""
