#version 450 core
// Depth of the subject seen from the key light: the shadow map.
// in   position      mesh frame
// out  gl_Position   the light's clip space

in vec3 position;

uniform mat4 light;  // mesh frame to the light's clip space

void main() {
    gl_Position = light * vec4(position, 1.0);
}
