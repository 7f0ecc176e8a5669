// What lies over the plate at a pixel of the picture: shared by `composite` and `cutout`.
// in   subject   of `shade_*`: linear, times coverage; alpha is coverage
//      ground    share of light of `ground_light`

uniform sampler2D subject;
uniform sampler2D ground;
uniform vec2 subject_corner;     // pixel of the picture at the subject texture's corner
uniform mat3 pixel_to_ground;    // homogeneous pixel to (x, z, 1) / depth; depth > 0 in front of the camera
uniform vec4 window;             // of the ground texture: centre x, z and half sides, metres

vec3 encode_srgb(vec3 linear) {  // IEC 61966-2-1
    return mix(1.055 * pow(linear, vec3(1.0 / 2.4)) - 0.055, 12.92 * linear, lessThanEqual(linear, vec3(0.0031308)));
}

vec3 ground_share() {
    vec3 place = pixel_to_ground * vec3(gl_FragCoord.xy, 1.0);
    vec2 inside = (place.xy / place.z - window.xy) / window.zw;
    if (place.z > 0.0 && max(abs(inside.x), abs(inside.y)) < 1.0) {
        return textureLod(ground, inside * 0.5 + 0.5, 0.0).rgb;
    }
    return vec3(1.0);
}

vec4 subject_over() {
    ivec2 at = ivec2(gl_FragCoord.xy - subject_corner);
    if (all(greaterThanEqual(at, ivec2(0))) && all(lessThan(at, textureSize(subject, 0)))) {
        return texelFetch(subject, at, 0);
    }
    return vec4(0.0);
}
