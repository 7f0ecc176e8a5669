// Metallic-roughness reflection as glTF 2.0, appendix B, defines it; alpha is roughness squared.

const float PI = 3.14159265;

// GGX: B. Walter et al., "Microfacet Models for Refraction through Rough Surfaces", EGSR 2007.
float distribution_ggx(float n_h, float alpha) {
    float d = n_h * n_h * (alpha * alpha - 1.0) + 1.0;
    return alpha * alpha / (PI * d * d);
}

// Smith's height-correlated masking and shadowing over 4 (N.L)(N.V): E. Heitz, JCGT 3(2), 2014; approximated by
// E. Hammon, GDC 2017.
float visibility_smith(float n_l, float n_v, float alpha) {
    return 0.5 / max(mix(2.0 * n_l * n_v, n_l + n_v, alpha), 1e-4);
}

// C. Schlick, "An Inexpensive BRDF Model for Physically-based Rendering", 1994.
vec3 fresnel_schlick(vec3 f0, float v_h) {
    float grazing = 1.0 - v_h;
    float squared = grazing * grazing;
    return f0 + (1.0 - f0) * squared * squared * grazing;
}

// Scale and bias of F0 in the second half of the split sum: B. Karis' fit, "Physically Based Shading on Mobile", 2014.
vec2 environment_brdf(float roughness, float n_v) {
    vec4 r = roughness * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
    float a = min(r.x * r.x, exp2(-9.28 * n_v)) * r.x + r.y;
    return vec2(-1.04, 1.04) * a + r.zw;
}
