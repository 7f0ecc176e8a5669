"""Radiometry: what a surface receives, and the exposure that makes a white card right.

Radiance and irradiance are linear Rec.709; an environment is equirectangular as in ``lensora.core.scene.Scene``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import KeyLight, Scene, Vector
from services.background.core.framing import panorama_directions
from services.background.core.noise import FloatArray

CARD_ALBEDO = 0.8
"""Reflectance of the white card that exposure is set by."""

CARD_CEILING = 0.92
"""The most that any channel of the lit white card may reach, linear display value."""

FACING_CAMERA: Vector = (0.0, 0.0, 1.0)
UP: Vector = (0.0, 1.0, 0.0)

LUMINANCE = np.array((0.2126, 0.7152, 0.0722))
"""Weights of linear Rec.709 (ITU-R BT.709)."""


def light_direction(azimuth_degrees: float, elevation_degrees: float) -> Vector:
    """Unit vector towards a light; azimuth 0 is −Z (behind the subject) and grows towards +X."""
    azimuth, elevation = math.radians(azimuth_degrees), math.radians(elevation_degrees)
    level = math.cos(elevation)
    return (level * math.sin(azimuth), math.sin(elevation), -level * math.cos(azimuth))


def environment_irradiance(environment: FloatArray, normal: Vector) -> NDArray[np.float64]:
    """(3,) irradiance on a surface facing ``normal``: the cosine-weighted integral of the environment."""
    height = environment.shape[0]
    azimuth, elevation = (np.radians(angle) for angle in panorama_directions(height))
    level = np.cos(elevation)
    cosine = level * np.sin(azimuth) * normal[0] + np.sin(elevation) * normal[1] - level * np.cos(azimuth) * normal[2]
    solid_angle = (math.pi / height) ** 2 * level
    weights = np.maximum(cosine, 0.0) * solid_angle
    return np.asarray(np.einsum("hw,hwc->c", weights, environment, dtype=np.float64), np.float64)


def key_irradiance(key: KeyLight, normal: Vector) -> NDArray[np.float64]:
    """(3,) unshadowed irradiance of the key on a surface facing ``normal``."""
    return np.array(key.irradiance) * max(0.0, float(np.dot(key.direction, normal)))


def card_radiance(environment: FloatArray, key: KeyLight) -> NDArray[np.float64]:
    """(3,) radiance of a diffuse white card at the origin that stands upright and faces the camera."""
    received = environment_irradiance(environment, FACING_CAMERA) + key_irradiance(key, FACING_CAMERA)
    return CARD_ALBEDO / math.pi * received


def exposure_for_card(environment: FloatArray, key: KeyLight, level: float) -> float:
    """The gain that brings the white card's luminance to ``level`` (linear, 1 is display white).

    Coloured light may get less, so that the card's strongest channel stays at or under ``CARD_CEILING``.
    """
    radiance = card_radiance(environment, key)
    return float(min(level / (radiance @ LUMINANCE), CARD_CEILING / radiance.max()))


def key_share_of_ground(scene: Scene) -> NDArray[np.float64]:
    """(3,) share of the open ground's irradiance that comes from the key, per channel.

    A shadow darkens the plate to ``plate · (1 − share · blocked)``.
    """
    key = key_irradiance(scene.key_light, UP)
    return key / (key + environment_irradiance(scene.environment, UP))
