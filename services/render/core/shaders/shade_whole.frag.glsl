#version 450 core
// Lights the pixels that one surface fills: once, with the mean of their samples.
// in   base, facing, depth   multisampled, of `geometry`; and what `lighting` takes
// out  display               linear display RGB, alpha 1; blended additively over lens samples

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
    vec4 material = vec4(0.0), normal = vec4(0.0);
    float z = 0.0;
    for (int i = 0; i < 4; i++) {
        material += 0.25 * texelFetch(base, at, i);
        normal += 0.25 * texelFetch(facing, at, i);
        z += 0.25 * texelFetch(depth, at, i).r;
    }
    display = share * vec4(lit(material, normal, z), 1.0);
}
