#version 450 core
// The subject flattened on the ground along many light directions at once: one instance and one atlas tile a direction.
// in   position         mesh frame
// out  gl_Position      inside the instance's tile; clipped to it
//      height           metres above the ground

#include "ground_atlas.glsl"

in vec3 position;

uniform mat4 model;              // mesh frame to scene, the turn included
uniform vec4 window;             // the ground that a tile shows: centre x, z and half sides, metres
uniform vec2 slopes[TILES];      // direction.xz / direction.y of the light behind each tile
uniform vec2 offsets[TILES];     // sub-texel shifts, in tiles, so that the tiles' average is antialiased

out float gl_ClipDistance[4];
out float height;

void main() {
    vec3 world = (model * vec4(position, 1.0)).xyz;
    height = max(world.y, 0.0);
    vec2 ground = world.xz - slopes[gl_InstanceID] * height;
    vec2 inside = (ground - window.xy) / window.zw + 2.0 * offsets[gl_InstanceID];
    gl_ClipDistance[0] = 1.0 - inside.x;
    gl_ClipDistance[1] = 1.0 + inside.x;
    gl_ClipDistance[2] = 1.0 - inside.y;
    gl_ClipDistance[3] = 1.0 + inside.y;
    vec2 tile = vec2(gl_InstanceID % COLUMNS, gl_InstanceID / COLUMNS);
    vec2 grid = vec2(COLUMNS, TILES / COLUMNS);
    gl_Position = vec4((tile + inside * 0.5 + 0.5) / grid * 2.0 - 1.0, 0.0, 1.0);
}
