#version 450 core
// What share of its light each point of the ground still gets beside the subject, for one frame.
// in   blocked    atlas of `occluder` towards the key light's disc, one tile a direction
//      squares, products, linears   of `ground_transfer`, in the subject's frame
// out  share      linear RGB factor in [0, 1]; 1 is the empty ground of the plate

#include "ground_atlas.glsl"

uniform sampler2D blocked;
uniform sampler2D squares;
uniform sampler2D products;
uniform sampler2D linears;
uniform vec3 window;             // of the ground drawn here: centre x, centre z, half side, metres
uniform float transfer_half;     // half side of the ground that the moments cover, centred on the turn axis, metres
uniform mat2 unturn;             // scene to subject's frame, x and z
uniform vec4 ambient[9];         // radiance forms in the subject's frame, weights of the three textures, R then G then B
uniform vec3 key;                // irradiance of the open ground by the key light
uniform vec3 total;              // irradiance of the open ground by all light
out vec4 share;

void main() {
    ivec2 size = textureSize(blocked, 0) / ivec2(COLUMNS, TILES / COLUMNS);
    float hidden = 0.0;
    for (int i = 0; i < TILES; i++) {
        ivec2 tile = ivec2(i % COLUMNS, i / COLUMNS);
        hidden += texelFetch(blocked, tile * size + ivec2(gl_FragCoord.xy), 0).r;
    }
    vec2 inside = gl_FragCoord.xy / vec2(size) * 2.0 - 1.0;
    vec2 place = unturn * (window.xy + inside * window.z) / transfer_half;
    vec4 a = textureLod(squares, place * 0.5 + 0.5, 0.0);
    vec4 b = textureLod(products, place * 0.5 + 0.5, 0.0);
    vec4 c = textureLod(linears, place * 0.5 + 0.5, 0.0);
    vec3 lost;
    for (int i = 0; i < 3; i++) {
        lost[i] = dot(a, ambient[3 * i]) + dot(b, ambient[3 * i + 1]) + dot(c, ambient[3 * i + 2]);
    }
    lost *= 1.0 - smoothstep(0.75, 1.0, length(place));
    lost = max(lost, 0.0) + key * hidden / float(TILES) * (1.0 - smoothstep(0.8, 1.0, max(abs(inside.x), abs(inside.y))));
    share = vec4(clamp(1.0 - lost / total, 0.0, 1.0), 1.0);
}
