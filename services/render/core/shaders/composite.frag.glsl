#version 450 core
// The subject over the plate, the plate darkened where the subject takes its light.
// in   plate     linear; and what `layers` takes
// out  picture   sRGB-encoded

#include "layers.glsl"

uniform sampler2D plate;
out vec4 picture;

void main() {
    vec4 over = subject_over();
    vec3 color = texelFetch(plate, ivec2(gl_FragCoord.xy), 0).rgb * ground_share();
    picture = vec4(encode_srgb(over.rgb + color * (1.0 - over.a)), 1.0);
}
