#version 450 core
// How the subject blocks ambient light at each point of the ground, as moments of the blocked directions: baked once,
// turned with the subject. With the environment's quadratic form M, the light lost is the sum of M * moments.
// P.-P. Sloan, J. Kautz, J. Snyder, "Precomputed Radiance Transfer", SIGGRAPH 2002.
// in   blocked    atlas of `occluder`, one tile a direction
// out  squares    sums over blocked directions of (xx, yy, zz, 1) * weight; blended additively over several atlases
//      products   (xy, xz, yz, -) * weight
//      linears    (x, y, z, -) * weight

#include "ground_atlas.glsl"

uniform sampler2D blocked;
uniform vec3 directions[TILES];  // cosine-distributed over the upper hemisphere
uniform float weight;            // pi / number of directions of all atlases

layout(location = 0) out vec4 squares;
layout(location = 1) out vec4 products;
layout(location = 2) out vec4 linears;

void main() {
    ivec2 size = textureSize(blocked, 0) / ivec2(COLUMNS, TILES / COLUMNS);
    squares = products = linears = vec4(0.0);
    for (int i = 0; i < TILES; i++) {
        ivec2 tile = ivec2(i % COLUMNS, i / COLUMNS);
        float share = weight * texelFetch(blocked, tile * size + ivec2(gl_FragCoord.xy), 0).r;
        vec3 d = directions[i];
        squares += share * vec4(d * d, 1.0);
        products += share * vec4(d.x * d.y, d.x * d.z, d.y * d.z, 0.0);
        linears += share * vec4(d, 0.0);
    }
}
