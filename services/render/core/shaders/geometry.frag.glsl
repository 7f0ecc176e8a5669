#version 450 core
// Material and normal of the subject, multisampled, so that lighting is paid once a pixel and not once a triangle.
// T. Saito and T. Takahashi, "Comprehensible Rendering of 3-D Shapes", SIGGRAPH 1990 (the G-buffer).
// in   interpolated attributes, scene's frame
//      base_color_map (sRGB texture), metallic_roughness_map (G roughness, B metalness), normal_map (tangent space)
// out  base       square root of the linear base colour (8 bits suffice then); roughness
//      facing     unit shading normal, scene's frame; metalness

centroid in vec3 world_normal;
centroid in vec4 world_tangent;
centroid in vec2 texture_uv;
centroid in vec3 vertex_color;

uniform sampler2D base_color_map;
uniform sampler2D metallic_roughness_map;
uniform sampler2D normal_map;
uniform vec3 base_color;  // linear factor
uniform vec3 factors;     // metallic factor, roughness factor, normal scale

layout(location = 0) out vec4 base;
layout(location = 1) out vec4 facing;

void main() {
    vec3 geometric = normalize(world_normal) * (gl_FrontFacing ? 1.0 : -1.0);
    vec3 tangent = normalize(world_tangent.xyz - geometric * dot(geometric, world_tangent.xyz));
    vec3 bitangent = cross(geometric, tangent) * world_tangent.w;
    vec3 mapped = texture(normal_map, texture_uv).xyz * 2.0 - 1.0;
    mapped.xy *= factors.z;
    vec3 normal = normalize(mapped.x * tangent + mapped.y * bitangent + mapped.z * geometric);
    vec4 stored = texture(metallic_roughness_map, texture_uv);
    vec3 color = texture(base_color_map, texture_uv).rgb * base_color * vertex_color;
    base = vec4(sqrt(color), stored.g * factors.y);
    facing = vec4(normal, stored.b * factors.x);
}
