// Layout of the texture that `prefilter` writes and `surface` reads: one octahedral tile a roughness.
const int TILE = 256;
const int BORDER = 2;
const int TILES = 8;
