#version 450 core
// Reflections of the environment, blurred by the GGX lobe of one roughness a tile: the first half of the split sum.
// B. Karis, "Real Shading in Unreal Engine 4", SIGGRAPH 2013 course; mip levels by solid angle as in M. Colbert and
// J. Krivanek, "GPU-Based Importance Sampling", GPU Gems 3, chapter 20: smooth with few samples, the same every time.
// in   environment  equirectangular radiance with mip levels, row 0 is +Y, centre column is -Z
// out  radiance     tiles from top to bottom, roughness 0 to 1; octahedral with a border of BORDER texels

#include "octahedral.glsl"
#include "reflection_atlas.glsl"

uniform sampler2D environment;
out vec4 radiance;

const float PI = 3.14159265;
const int SAMPLES = 24;

vec2 equirectangular(vec3 direction) {
    return vec2(0.5 + atan(direction.x, -direction.z) / (2.0 * PI), acos(clamp(direction.y, -1.0, 1.0)) / PI);
}

float radical_inverse(uint index) {
    return float(bitfieldReverse(index)) * 2.3283064365386963e-10;
}

void main() {
    int tile = int(gl_FragCoord.y) / TILE;
    vec2 inside = (vec2(gl_FragCoord.x, gl_FragCoord.y - float(tile * TILE)) - float(BORDER)) / float(TILE - 2 * BORDER);
    vec3 normal = octahedral_decode(inside * 2.0 - 1.0);
    vec2 size = vec2(textureSize(environment, 0));
    float texel = 4.0 * PI / (size.x * size.y);
    if (tile == 0) {
        float tile_texel = 4.0 * PI / float(TILE * TILE);
        radiance = vec4(textureLod(environment, equirectangular(normal), max(0.0, 0.5 * log2(tile_texel / texel))).rgb, 1.0);
        return;
    }
    float roughness = float(tile) / float(TILES - 1);
    float alpha = roughness * roughness;
    vec3 side = normalize(cross(abs(normal.y) < 0.9 ? vec3(0, 1, 0) : vec3(1, 0, 0), normal));
    vec3 up = cross(normal, side);
    vec3 total = vec3(0.0);
    float weight = 0.0;
    for (uint i = 0u; i < SAMPLES; i++) {
        float u = (float(i) + 0.5) / float(SAMPLES);
        float angle = 2.0 * PI * radical_inverse(i);
        float cos_h = sqrt((1.0 - u) / (1.0 + (alpha * alpha - 1.0) * u));
        float sin_h = sqrt(1.0 - cos_h * cos_h);
        vec3 h = sin_h * (cos(angle) * side + sin(angle) * up) + cos_h * normal;
        vec3 light = 2.0 * cos_h * h - normal;
        float cosine = dot(normal, light);
        if (cosine <= 0.0) continue;
        float d = cos_h * cos_h * (alpha * alpha - 1.0) + 1.0;
        float density = alpha * alpha / (PI * d * d) / 4.0;  // of `light`; N = V = H's axis
        float covered = 1.0 / (float(SAMPLES) * density);
        float level = max(0.0, 0.5 * log2(covered / texel) + 1.0);
        total += cosine * textureLod(environment, equirectangular(light), level).rgb;
        weight += cosine;
    }
    radiance = vec4(total / weight, 1.0);
}
