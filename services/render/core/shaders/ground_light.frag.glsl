#version 450 core
// What share of its light each point of the ground still gets beside the subject, for one frame.
// in   shadow     of `ground_key`, with mip levels
//      squares, products, linears   of `ground_transfer`, in the subject's frame
// out  share      linear RGB factor in [0, 1]; 1 is the empty ground of the plate

uniform sampler2D shadow;
uniform sampler2D squares;
uniform sampler2D products;
uniform sampler2D linears;
uniform vec4 window;             // of the ground drawn here: centre x, z and half sides, metres
uniform float blur;              // per height: distance between the shadows of neighbouring samples of the disc, metres
uniform float transfer_half;     // half side of the ground that the moments cover, centred on the turn axis, metres
uniform mat2 unturn;             // scene to subject's frame, x and z
uniform vec4 ambient[9];         // radiance forms in the subject's frame, weights of the three textures, R then G then B
uniform vec3 key;                // irradiance of the open ground by the key light
uniform vec3 total;              // irradiance of the open ground by all light
out vec4 share;

const int TAPS = 12;

// The samples of the disc leave a shadow each: blurred by the distance between them they melt into one penumbra.
float key_hidden(vec2 uv) {
    vec2 around = textureLod(shadow, uv, 3.0).rg;
    float radius = blur * around.g / max(around.r, 1e-3);
    vec2 reach = 0.5 * radius / window.zw;
    float level = log2(max(0.5 * reach.x * float(textureSize(shadow, 0).x), 1.0));
    float hidden = 0.0;
    for (int i = 0; i < TAPS; i++) {
        float angle = 2.399963 * float(i);
        vec2 offset = reach * sqrt((float(i) + 0.5) / float(TAPS)) * vec2(cos(angle), sin(angle));
        hidden += textureLod(shadow, uv + offset, level).r;
    }
    return hidden / float(TAPS);
}

void main() {
    vec2 uv = gl_FragCoord.xy / vec2(textureSize(shadow, 0));
    vec2 inside = uv * 2.0 - 1.0;
    vec2 place = unturn * (window.xy + inside * window.zw) / transfer_half;
    vec4 a = textureLod(squares, place * 0.5 + 0.5, 0.0);
    vec4 b = textureLod(products, place * 0.5 + 0.5, 0.0);
    vec4 c = textureLod(linears, place * 0.5 + 0.5, 0.0);
    vec3 lost;
    for (int i = 0; i < 3; i++) {
        lost[i] = dot(a, ambient[3 * i]) + dot(b, ambient[3 * i + 1]) + dot(c, ambient[3 * i + 2]);
    }
    lost *= 1.0 - smoothstep(0.6, 1.0, length(place));
    lost = max(lost, 0.0) + key * key_hidden(uv) * (1.0 - smoothstep(0.9, 1.0, max(abs(inside.x), abs(inside.y))));
    share = vec4(clamp(1.0 - lost / total, 0.0, 1.0), 1.0);
}
