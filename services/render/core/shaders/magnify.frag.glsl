#version 450 core
// A part of the plate as large as the picture, sharp: a cubic through the pixels (E. Catmull and R. Rom, 1974; the
// member B = 0, C = 1/2 of D. Mitchell and A. Netravali, "Reconstruction Filters in Computer Graphics", 1988).
// in   plate       samples are linear
// out  magnified   linear

uniform sampler2D plate;
uniform mat3 pixel_to_plate;  // homogeneous pixel of the picture to that of the plate
out vec4 magnified;

vec4 weights(float t) {  // of the pixels -1, 0, 1, 2 around a place t beyond pixel 0
    vec4 powers = vec4(1.0, t, t * t, t * t * t);
    return 0.5 * vec4(
        dot(powers, vec4(0.0, -1.0, 2.0, -1.0)),
        dot(powers, vec4(2.0, 0.0, -5.0, 3.0)),
        dot(powers, vec4(0.0, 1.0, 4.0, -3.0)),
        dot(powers, vec4(0.0, 0.0, -1.0, 1.0))
    );
}

void main() {
    vec2 place = (pixel_to_plate * vec3(gl_FragCoord.xy, 1.0)).xy - 0.5;
    ivec2 corner = ivec2(floor(place));
    vec4 across = weights(place.x - float(corner.x)), down = weights(place.y - float(corner.y));
    ivec2 last = textureSize(plate, 0) - 1;
    vec3 sum = vec3(0.0);
    for (int row = 0; row < 4; row++) {
        for (int column = 0; column < 4; column++) {
            ivec2 at = clamp(corner + ivec2(column, row) - 1, ivec2(0), last);
            sum += across[column] * down[row] * texelFetch(plate, at, 0).rgb;
        }
    }
    magnified = vec4(max(sum, 0.0), 1.0);
}
