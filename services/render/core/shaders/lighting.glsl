// Light of the environment and the key light on a metallic-roughness surface: shared by the two `shade` passes. Needs
// `octahedral`, `reflection_atlas` and `brdf` before it.
// in   reflections   atlas of `prefilter`;  ground  share of light of `ground_light`;  key_depth  shadow map

uniform mat4 unproject;          // (pixel x, pixel y, depth, 1) to the scene, homogeneous
uniform sampler2D reflections;
uniform sampler2D ground;
uniform sampler2DShadow key_depth;

uniform vec3 eye;                // metres
uniform mat4 irradiance[3];      // quadratic forms of (normal, 1): red, green, blue
uniform vec3 ground_radiance;    // that the open ground sends up
uniform vec4 window;             // of the ground texture: centre x, z and half sides, metres
uniform vec3 key_direction;
uniform vec3 key_irradiance;
uniform float key_spread;        // what the light's angular radius adds to alpha
uniform mat4 key_matrix;         // scene to the shadow map, [0, 1]^3
uniform vec2 key_blur;           // radius of its filter in the map; shift along the normal in metres
uniform float exposure;

const int TAPS = 8;

struct Surface {
    vec3 position;
    vec3 normal;
    vec3 albedo;      // of the diffuse part
    vec3 f0;          // reflectance straight on
    float roughness;
};

vec3 reflected(vec3 direction, float roughness) {
    vec2 inside = (octahedral_encode(direction) * 0.5 + 0.5) * float(TILE - 2 * BORDER) + float(BORDER);
    float level = clamp(roughness, 0.0, 1.0) * float(TILES - 1);
    float tile = min(floor(level), float(TILES - 2));
    vec2 size = vec2(TILE, TILE * TILES);
    vec3 sharper = textureLod(reflections, (inside + vec2(0.0, tile * float(TILE))) / size, 0.0).rgb;
    vec3 rougher = textureLod(reflections, (inside + vec2(0.0, (tile + 1.0) * float(TILE))) / size, 0.0).rgb;
    return mix(sharper, rougher, level - tile);
}

vec3 ambient_irradiance(vec3 normal) {
    vec4 n = vec4(normal, 1.0);
    return max(vec3(dot(n, irradiance[0] * n), dot(n, irradiance[1] * n), dot(n, irradiance[2] * n)), 0.0);
}

// Share of its light that the ground gets around `point`, seen over a disc of `radius` metres.
vec3 ground_share(vec2 point, float radius) {
    vec2 size = vec2(textureSize(ground, 0));
    float level = log2(max(radius / window.z * size.x, 1.0));
    return textureLod(ground, (point - window.xy) / window.zw * 0.5 + 0.5, level).rgb;
}

float key_visibility(Surface s) {
    vec3 point = (key_matrix * vec4(s.position + s.normal * key_blur.y, 1.0)).xyz;
    float lit = 0.0;
    for (int i = 0; i < TAPS; i++) {  // a Vogel spiral, the same for every pixel: soft without noise
        float radius = key_blur.x * sqrt((float(i) + 0.5) / float(TAPS));
        vec2 offset = radius * vec2(cos(2.399963 * float(i)), sin(2.399963 * float(i)));
        lit += texture(key_depth, vec3(point.xy + offset, point.z));
    }
    return lit / float(TAPS);
}

vec3 environment_light(Surface s, vec3 view) {
    vec2 split = environment_brdf(s.roughness, clamp(dot(s.normal, view), 1e-3, 1.0));
    vec3 single = s.f0 * split.x + split.y;
    // what a single bounce between microfacets loses comes back: C. Fdez-Aguera, JCGT 8(1), 2019
    vec3 specular = single * (1.0 + s.f0 * (1.0 / (split.x + split.y) - 1.0));
    float height = max(s.position.y, 0.0);
    vec3 open = ground_share(s.position.xz + s.normal.xz * height, height);
    vec3 received = ambient_irradiance(s.normal) - (1.0 - open) * PI * ground_radiance * (0.5 - 0.5 * s.normal.y);
    vec3 mirror = reflect(-view, s.normal);
    float reach = min(height / max(-mirror.y, 0.05), 4.0 * window.z);
    vec3 below = ground_share(s.position.xz + mirror.xz * reach, reach * s.roughness);
    vec3 seen = reflected(mirror, s.roughness) * mix(vec3(1.0), below, clamp(-4.0 * mirror.y, 0.0, 1.0));
    return max(received, 0.0) / PI * s.albedo * (1.0 - specular) + seen * specular;
}

vec3 key_light(Surface s, vec3 view) {
    float n_l = clamp(dot(s.normal, key_direction), 0.0, 1.0);
    float n_v = clamp(dot(s.normal, view), 1e-3, 1.0);
    vec3 middle = normalize(view + key_direction);
    float alpha = min(s.roughness * s.roughness + key_spread, 1.0);
    vec3 f = fresnel_schlick(s.f0, clamp(dot(view, middle), 0.0, 1.0));
    float lobe = distribution_ggx(clamp(dot(s.normal, middle), 0.0, 1.0), alpha) * visibility_smith(n_l, n_v, alpha);
    return key_irradiance * n_l * ((1.0 - f) * s.albedo / PI + f * lobe);
}

// Display RGB of one sample of the G-buffer, linear, clamped to [0, 1].
vec3 lit(vec4 material, vec4 normal, float z) {
    vec4 place = unproject * vec4(gl_FragCoord.xy, z, 1.0);
    vec3 color = material.rgb * material.rgb;
    Surface s;
    s.position = place.xyz / place.w;
    s.normal = normalize(normal.xyz);
    s.albedo = color * (1.0 - normal.w);
    s.f0 = mix(vec3(0.04), color, normal.w);
    s.roughness = clamp(material.a, 0.045, 1.0);
    vec3 view = normalize(eye - s.position);
    // interpolated and mapped normals may look away where the surface itself does not
    s.normal = normalize(s.normal - view * min(dot(s.normal, view), 0.0));
    return clamp(exposure * (environment_light(s, view) + key_light(s, view) * key_visibility(s)), 0.0, 1.0);
}
