#version 450 core
// in   height    metres above the ground
// out  blocked   1 where the subject hides the light from the ground; height over the subject's, of what hides it

in float height;

uniform float tallest;  // the subject's height, metres

out vec2 blocked;

void main() {
    blocked = vec2(1.0, height / tallest);
}
