#version 450 core
// out  blocked   1 where the subject hides the light from the ground

out float blocked;

void main() {
    blocked = 1.0;
}
