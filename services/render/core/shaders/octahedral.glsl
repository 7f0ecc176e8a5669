// Maps between directions and the square [-1, 1]^2.
// Z. Cigolle et al., "A Survey of Efficient Representations for Independent Unit Vectors", JCGT 3(2), 2014.

vec2 octahedral_encode(vec3 direction) {
    vec3 n = direction / (abs(direction.x) + abs(direction.y) + abs(direction.z));
    vec2 folded = (1.0 - abs(n.zx)) * vec2(n.x >= 0.0 ? 1.0 : -1.0, n.z >= 0.0 ? 1.0 : -1.0);
    return n.y >= 0.0 ? n.xz : folded;
}

// Also takes points a little outside the square, which lie beyond its folded edges: what a texture's border needs.
vec3 octahedral_decode(vec2 point) {
    if (abs(point.x) > 1.0) point = vec2(sign(point.x) * 2.0 - point.x, -point.y);
    if (abs(point.y) > 1.0) point = vec2(-point.x, sign(point.y) * 2.0 - point.y);
    vec3 n = vec3(point.x, 1.0 - abs(point.x) - abs(point.y), point.y);
    float below = max(-n.y, 0.0);
    n.x += n.x >= 0.0 ? -below : below;
    n.z += n.z >= 0.0 ? -below : below;
    return normalize(n);
}
