#version 450 core
// Lights the pixels at edges: every sample for itself, clamped before they are averaged, so that edges blend as the
// eye sees them.
// in   base, facing, depth   multisampled, of `geometry`; and what `lighting` takes
// out  display               linear display RGB times coverage; coverage; blended additively over lens samples

#include "octahedral.glsl"
#include "reflection_atlas.glsl"
#include "brdf.glsl"
#include "lighting.glsl"

uniform sampler2DMS base;
uniform sampler2DMS facing;
uniform sampler2DMS depth;
uniform float share;  // of the picture: one over the number of lens samples
out vec4 display;

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    display = vec4(0.0);
    for (int i = 0; i < 4; i++) {
        float z = texelFetch(depth, at, i).r;
        if (z == 1.0) continue;  // the background
        display += share * 0.25 * vec4(lit(texelFetch(base, at, i), texelFetch(facing, at, i), z), 1.0);
    }
}
