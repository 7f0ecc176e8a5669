#version 450 core
// The key light's shadow on the ground: the mean over the light's disc.
// in   blocked    atlas of `occluder` towards the disc, one tile a direction
// out  shadow     share of the disc that is hidden; that share times the height of what hides it over the subject's

#include "ground_atlas.glsl"

uniform sampler2D blocked;
out vec2 shadow;

void main() {
    ivec2 size = textureSize(blocked, 0) / ivec2(COLUMNS, TILES / COLUMNS);
    shadow = vec2(0.0);
    for (int i = 0; i < TILES; i++) {
        ivec2 tile = ivec2(i % COLUMNS, i / COLUMNS);
        shadow += texelFetch(blocked, tile * size + ivec2(gl_FragCoord.xy), 0).rg / float(TILES);
    }
}
