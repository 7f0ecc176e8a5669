#version 450 core
// Y' of the picture: ITU-R BT.709, limited range, 8 bit.
// in   picture   R'G'B', top row first
// out  luma

uniform sampler2D picture;
out float luma;

void main() {
    vec3 rgb = texelFetch(picture, ivec2(gl_FragCoord.xy), 0).rgb;
    luma = (16.0 + 219.0 * dot(rgb, vec3(0.2126, 0.7152, 0.0722))) / 255.0;
}
