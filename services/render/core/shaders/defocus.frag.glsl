#version 450 core
// The plate through a wide lens: each pixel the mean over its circle of confusion. The ground's depth is known, and what
// is above the horizon is endlessly far; both change smoothly, so a pixel's own circle is its neighbours' as well.
// M. Potmesil and I. Chakravarty, "A Lens and Aperture Camera Model", SIGGRAPH 1981.
// in   plate       with mip levels, samples are linear
// out  defocused   linear

uniform sampler2D plate;
uniform mat3 pixel_to_ground;  // homogeneous pixel to (x, z, 1) / depth; depth > 0 in front of the camera
uniform float blur;            // radius of the circle at infinite depth, pixels
uniform float focus;           // depth of the plane in focus, metres
out vec4 defocused;

const int TAPS = 64;

void main() {
    float inverse_depth = max((pixel_to_ground * vec3(gl_FragCoord.xy, 1.0)).z, 0.0);
    float radius = blur * abs(1.0 - focus * inverse_depth);
    float level = log2(max(2.0 * radius / sqrt(float(TAPS)), 1.0));  // each tap stands for its share of the circle
    vec2 size = vec2(textureSize(plate, 0));
    vec3 sum = vec3(0.0);
    for (int i = 0; i < TAPS; i++) {
        float angle = 2.399963 * float(i);
        vec2 offset = radius * sqrt((float(i) + 0.5) / float(TAPS)) * vec2(cos(angle), sin(angle));
        sum += textureLod(plate, (gl_FragCoord.xy + offset) / size, level).rgb;
    }
    defocused = vec4(sum / float(TAPS), 1.0);
}
