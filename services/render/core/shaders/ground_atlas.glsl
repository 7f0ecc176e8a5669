// Layout of the atlas that `occluder` draws: one tile a light direction.
const int TILES = 32;
const int COLUMNS = 8;
