#version 450 core
// Covers the viewport with one triangle; no vertex buffer needed.
// out  gl_Position

uniform float screen_depth;  // [0, 1]

void main() {
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    gl_Position = vec4(corner, screen_depth * 2.0 - 1.0, 1.0);
}
