#version 450 core
// Tells pixels apart by depth, so that the depth test keeps `shade_*` away from those it need not touch: a branch in a
// shader saves nothing on a CPU rasteriser, the early depth test does.
// in   facing, depth   multisampled, of `geometry`
// out  gl_FragDepth    0.25 one surface all over the pixel, 0.5 an edge, 1 nothing

uniform sampler2DMS facing;
uniform sampler2DMS depth;
uniform float depth_step;  // larger differences of depth within a pixel are an edge

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    vec3 mean = vec3(0.0);
    float near = 1.0, far = 0.0;
    for (int i = 0; i < 4; i++) {
        float z = texelFetch(depth, at, i).r;
        near = min(near, z);
        far = max(far, z);
        mean += 0.25 * texelFetch(facing, at, i).xyz;
    }
    bool whole = far < 1.0 && far - near < depth_step && dot(mean, mean) > 0.9;
    gl_FragDepth = whole ? 0.25 : (near < 1.0 ? 0.5 : 1.0);
}
