#version 450 core
// The subject and its shadow over nothing, for a player to lay over anything: T. Porter and T. Duff, "Compositing Digital
// Images", SIGGRAPH 1984.
// in   what `layers` takes
// out  picture   sRGB-encoded, and alpha; straight

#include "layers.glsl"

out vec4 picture;

void main() {
    vec4 over = subject_over();
    // players blend encoded values: black of this alpha darkens those as the light that is lost would
    float shadow = 1.0 - pow(dot(ground_share(), vec3(0.2126, 0.7152, 0.0722)), 1.0 / 2.2);
    float alpha = over.a + shadow * (1.0 - over.a);
    vec3 color = encode_srgb(over.rgb / max(over.a, 1e-3)) * over.a / max(alpha, 1e-3);
    picture = vec4(color, alpha);
}
