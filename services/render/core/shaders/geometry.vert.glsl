#version 450 core
// The subject as the camera sees it, not yet lit.
// in   vertex attributes, mesh frame
// out  the same in the scene's frame, for `geometry.frag`

in vec3 position;
in vec3 normal;
in vec4 tangent;   // w is the bitangent's sign
in vec2 uv;
in vec3 color;

uniform mat4 model;   // mesh frame to scene: uniform scale, turn, shift
uniform mat4 camera;  // scene to clip space of the subject's rectangle, y down

// centroid: a sample at the silhouette must not look past the edge of its triangle
centroid out vec3 world_normal;
centroid out vec4 world_tangent;
centroid out vec2 texture_uv;
centroid out vec3 vertex_color;

void main() {
    vec4 world = model * vec4(position, 1.0);
    world_normal = mat3(model) * normal;
    world_tangent = vec4(mat3(model) * tangent.xyz, tangent.w);
    texture_uv = uv;
    vertex_color = color;
    gl_Position = camera * world;
}
