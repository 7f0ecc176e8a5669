"""A scene around one flat picture: a ground to stand on, the light it was probably taken in, and a camera to match.

A single picture says nothing certain about any of the three. What is assumed: a level ground that reaches the lower
edge, a horizon a little above the middle, surroundings that look like the picture all around (mirrored, so that no
seam shows), and a key light on the brighter side. Debevec's image-based lighting (1998) with the panorama guessed, as
in Khan et al., "Image-based material editing" (2006).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.imaging import linear_to_srgb, srgb_to_linear
from lensora.core.scene import Camera, Ground, KeyLight, Scene
from services.background.core import lens, lighting
from services.background.core.framing import SUBJECT_HEIGHT, Framing, RayGrid, panorama_directions
from services.background.core.noise import Check, FloatArray, mix, smoothstep

_FOV_DEGREES = 28.0
_HORIZON = 0.42
"""Row of the horizon as a share of the frame's height, from the top."""

_FOOT = 0.89
"""Row of the subject's foot: low, since what a picture has of ground is at its lower edge."""

_HEIGHT_SHARE, _WIDTH_SHARE = 0.60, 0.70
"""Shares of the frame that the tallest and the widest subject fill, as in the other scenes."""

_APERTURE = 0.008
"""Diameter of the lens opening, metres: the distance turns a little soft, which tells the eye that it is far away."""

_STRIP_ROWS = 128
_ENVIRONMENT_ROWS = 128
_SPREAD_DEGREES = 6.0
"""Blur of the surroundings: light is guessed, so nothing sharp may be seen mirrored in the subject."""

_MOST_GAIN = 4.0
"""What no picture shows is at most so much brighter than what it shows; white light makes up for the rest."""

_KEY_AZIMUTH = 125.0
"""Degrees off the line behind the subject: from the side, and a little from the camera's."""

_ROUGHNESS = 0.9
"""Of the ground: what it would mirror, the picture already shows or does not."""


def scene_around(picture: NDArray[np.uint8], width: int, height: int, tick: Callable[[float], None]) -> Scene:
    """Build a scene whose plate is the picture.

    The exposure is that of the picture, so that the surroundings seen behind the subject and the plate agree; what
    lies behind the camera is as bright as a well-lit white card asks for.

    Args:
        picture: (h, w, 3) 8-bit sRGB.
        width: plate width, pixels.
        height: plate height, pixels.
        tick: called with the fraction done, at least every 200 ms of work.
    """
    covered = cover(picture, width, height)
    tick(0.1)
    framing = picture_framing(width / height)
    focus = math.dist(framing.camera.position, framing.camera.target)
    plate = _through_lens(covered, RayGrid(framing.camera, width, height), focus, partial(tick, 0.1))
    tick(0.6)
    small = cv2.resize(covered, (256, max(16, round(256 * height / width))), interpolation=cv2.INTER_AREA)
    linear = srgb_to_linear(np.asarray(small, np.uint8))
    ground = _ground_radiance(linear)
    around = _panorama(_expanded(linear), ground, partial(tick, 0.6))
    tick(0.8)
    level, to_fill = _mood(linear)
    around, key = _balanced(around, _key_shape(linear, to_fill), _key_colour(linear), level, to_fill)
    tick(0.9)
    exposure = lighting.exposure_for_card(around, key, level)
    received = lighting.environment_irradiance(around, lighting.UP) + lighting.key_irradiance(key, lighting.UP)
    red, green, blue = (float(value) for value in np.clip(math.pi * ground / (exposure * received), 0.0, 0.9))
    return Scene(
        name="picture",
        plate=plate,
        environment=around,
        key_light=key,
        ground=Ground((red, green, blue), _ROUGHNESS),
        camera=framing.camera,
        subject_height=framing.subject_height,
        subject_width=framing.subject_width,
        focus_distance=focus,
        exposure=exposure,
    )


def cover(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The middle of ``picture`` (h, w, 3) at the size asked for, the whole of it filled and nothing stretched."""
    tall, wide = picture.shape[:2]
    scale = max(width / wide, height / tall)
    crop_width, crop_height = min(wide, max(1, round(width / scale))), min(tall, max(1, round(height / scale)))
    left, top = (wide - crop_width) // 2, (tall - crop_height) // 2
    crop = picture[top : top + crop_height, left : left + crop_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (width, height), interpolation=method), np.uint8)


def _through_lens(plate: NDArray[np.uint8], rays: RayGrid, focus: float, check: Check) -> NDArray[np.uint8]:
    """The plate as a lens that is focused on the subject shows it, by the depth of the assumed ground."""
    radii = lens.blur_radius(rays.ground_depth(), focus, _APERTURE, rays.focal)
    blurred = lens.row_blur(srgb_to_linear(plate), radii, check)
    developed = np.empty_like(plate)
    for top in range(0, len(plate), _STRIP_ROWS):
        developed[top : top + _STRIP_ROWS] = linear_to_srgb(blurred[top : top + _STRIP_ROWS])
        check()
    return developed


def picture_framing(aspect: float) -> Framing:
    """The camera that sees the horizon and the subject's foot at the rows assumed.

    Args:
        aspect: width over height of the frame.
    """
    half = math.tan(math.radians(_FOV_DEGREES) / 2)
    pitch = math.atan((1 - 2 * _HORIZON) * half)  # downwards
    sight = math.tan(pitch + math.atan((2 * _FOOT - 1) * half))  # fall of the line to the foot, per metre
    depth = SUBJECT_HEIGHT / _HEIGHT_SHARE / (2 * half)
    distance = depth / (math.cos(pitch) + sight * math.sin(pitch))
    position = (0.0, sight * distance, distance)
    target = (0.0, position[1] - depth * math.sin(pitch), position[2] - depth * math.cos(pitch))
    return Framing(
        Camera(position, target, _FOV_DEGREES), SUBJECT_HEIGHT, _WIDTH_SHARE / _HEIGHT_SHARE * SUBJECT_HEIGHT * aspect
    )


def _expanded(linear: FloatArray) -> FloatArray:
    """Radiance from display values: what is close to white was clipped, and is taken for up to five times as bright.

    After Banterle et al., "Inverse tone mapping" (2006), with the expand map reduced to the pixel itself.
    """
    luminance = np.asarray(linear @ lighting.LUMINANCE, np.float32)
    return np.asarray(linear * (1.0 + 4.0 * smoothstep(0.8, 1.0, luminance))[..., None], np.float32)


def _ground_radiance(linear: FloatArray) -> NDArray[np.float64]:
    """(3,) mean around where the subject stands."""
    rows, columns = linear.shape[:2]
    strip = linear[round(0.72 * rows) : round(0.97 * rows), round(0.2 * columns) : round(0.8 * columns)]
    return np.asarray(strip.mean(axis=(0, 1)), np.float64)


def _panorama(radiance: FloatArray, ground: NDArray[np.float64], check: Check) -> FloatArray:
    """(h, 2h, 3) what may be all around: the picture in front, its mirror image behind, the ground below."""
    azimuth, elevation = panorama_directions(_ENVIRONMENT_ROWS)
    rows, columns = radiance.shape[:2]
    horizon = _HORIZON * rows
    # a half turn is one width of the picture and there and back a whole turn: neighbours stay neighbours all around
    across = np.abs((np.asarray(azimuth, np.float32) + 270.0) % 360.0 - 180.0) / np.float32(180.0)
    up = np.clip(elevation / 60.0, 0.0, 1.0)  # the picture's top reaches well up; above it, more of the same
    x = (across * np.float32(columns) - 0.5).astype(np.float32)
    y = (horizon * (1.0 - up) - 0.5).astype(np.float32)
    check()
    picture = cv2.remap(radiance, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    spread = _SPREAD_DEGREES / 180.0 * _ENVIRONMENT_ROWS
    turned = np.pad(np.asarray(picture), ((0, 0), (_ENVIRONMENT_ROWS, _ENVIRONMENT_ROWS), (0, 0)), mode="wrap")
    check()
    blurred = cv2.GaussianBlur(turned, (0, 0), sigmaX=2 * spread, sigmaY=spread, borderType=cv2.BORDER_REPLICATE)
    sky = np.asarray(blurred[:, _ENVIRONMENT_ROWS:-_ENVIRONMENT_ROWS], np.float32)
    # one colour at the zenith, where a row of the panorama is a point
    zenith = sky[: _ENVIRONMENT_ROWS // 8].mean(axis=(0, 1))
    sky = mix(sky, zenith, smoothstep(55.0, 85.0, np.asarray(elevation)))
    return mix(sky, ground.astype(np.float32), smoothstep(1.0, -3.0, np.asarray(elevation)))


def _mood(linear: FloatArray) -> tuple[float, float]:
    """The white card's level, 0.62 in dark pictures to 0.82 in bright ones; and the key's light on it over the fill's.

    Hard light shows as contrast: the spread of the picture's luminance in stops.
    """
    luminance = linear @ lighting.LUMINANCE
    level = float(np.interp(luminance.mean(), (0.04, 0.40), (0.62, 0.82)))
    dark, bright = np.percentile(luminance, (10, 90))
    stops = math.log2((bright + 0.01) / (dark + 0.01))
    return level, float(np.interp(stops, (1.0, 5.0), (0.8, 1.8)))


def _key_shape(linear: FloatArray, to_fill: float) -> KeyLight:
    """A key of no strength yet, on the side where the picture is brighter above the ground; a strong one is hard."""
    luminance = linear[: round(0.7 * len(linear))] @ lighting.LUMINANCE
    weight = np.square(luminance - luminance.min())
    columns = np.linspace(-1.0, 1.0, weight.shape[1])
    balance = float((weight.sum(axis=0) @ columns) / (weight.sum() + 1e-9))
    side = 1.0 if balance > 0 else -1.0
    softness = float(np.interp(to_fill, (0.8, 1.8), (12.0, 4.0)))
    return KeyLight(lighting.light_direction(side * _KEY_AZIMUTH, 40.0), (0.0, 0.0, 0.0), softness)


def _key_colour(linear: FloatArray) -> NDArray[np.float64]:
    """(3,) colour of the brightest tenth, halfway to white, luminance 1."""
    luminance = linear @ lighting.LUMINANCE
    bright = linear[luminance >= np.percentile(luminance, 90)].mean(axis=0)
    colour = bright / max(float(bright @ lighting.LUMINANCE), 1e-6)
    colour = 0.5 * np.clip(colour, 0.4, 1.8) + 0.5
    return np.asarray(colour / (colour @ lighting.LUMINANCE), np.float64)


def _balanced(
    around: FloatArray, shape: KeyLight, colour: NDArray[np.float64], level: float, to_fill: float
) -> tuple[FloatArray, KeyLight]:
    """Scale what no picture shows, behind the camera and high up, and the key: together they bring the white card to
    ``level``. What is in front, and the ground, stay as the picture shows them.
    """
    azimuth, elevation = (np.asarray(angles) for angles in panorama_directions(_ENVIRONMENT_ROWS))
    unseen = np.maximum(smoothstep(80.0, 110.0, np.abs(azimuth)), smoothstep(20.0, 45.0, elevation))
    unseen = (unseen * smoothstep(-3.0, 1.0, elevation))[..., None]
    softened = 0.5 * around + 0.5 * (around @ lighting.LUMINANCE)[..., None]
    fill = level / (1.0 + to_fill)
    missing = fill - _card_level(around * (1.0 - unseen))
    gain = float(np.clip(missing / max(_card_level(softened * unseen), 1e-6), 0.2, _MOST_GAIN))
    dome = np.repeat(unseen, 3, axis=2)
    white = max(0.0, missing - gain * _card_level(softened * dome)) / _card_level(dome)
    lit = np.asarray(around * (1.0 - unseen) + unseen * (gain * softened + white), np.float32)
    strength = (level - fill) / (lighting.CARD_ALBEDO / math.pi) / shape.direction[2]
    red, green, blue = (float(value) for value in strength * colour)
    return lit, KeyLight(shape.direction, (red, green, blue), shape.angular_radius_degrees)


def _card_level(environment: FloatArray) -> float:
    """Luminance of the white card in this light alone."""
    received = lighting.environment_irradiance(environment, lighting.FACING_CAMERA)
    return float(lighting.CARD_ALBEDO / math.pi * received @ lighting.LUMINANCE)
