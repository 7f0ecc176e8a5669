#version 450 core
// Cb and Cr of the picture at half size: ITU-R BT.709, limited range, 8 bit; sited on the left of each pair of columns
// and between the rows, where H.264 expects them by default.
// in   picture   R'G'B', top row first
// out  blue_difference, red_difference

uniform sampler2D picture;
layout(location = 0) out float blue_difference;
layout(location = 1) out float red_difference;

void main() {
    ivec2 at = 2 * ivec2(gl_FragCoord.xy);
    int left = max(at.x - 1, 0);
    vec3 sum = vec3(0.0);
    for (int row = 0; row < 2; row++) {
        sum += texelFetch(picture, ivec2(left, at.y + row), 0).rgb;
        sum += texelFetch(picture, ivec2(at.x, at.y + row), 0).rgb * 2.0;
        sum += texelFetch(picture, ivec2(at.x + 1, at.y + row), 0).rgb;
    }
    vec3 rgb = sum / 8.0;
    float luma = dot(rgb, vec3(0.2126, 0.7152, 0.0722));
    blue_difference = (128.0 + 224.0 * (rgb.b - luma) / 1.8556) / 255.0;
    red_difference = (128.0 + 224.0 * (rgb.r - luma) / 1.5748) / 255.0;
}
