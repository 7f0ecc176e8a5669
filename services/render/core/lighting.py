"""Light as the shaders take it: quadratic forms of the environment, and fixed sets of directions.

Directions are unit vectors in the scene's frame; radiance is linear Rec.709.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_IRRADIANCE_BANDS = (math.pi, 2 * math.pi / 3, math.pi / 4)
"""A clamped cosine's zonal coefficients (Ramamoorthi and Hanrahan 2001, equation 8)."""


@dataclass(frozen=True, slots=True)
class Ambient:
    """The smooth part of an environment's light.

    A function of direction of order 2 is a quadratic form of (x, y, z, 1): R. Ramamoorthi and P. Hanrahan, "An
    Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001.
    """

    radiance: NDArray[np.float64]
    """(3, 4, 4): [x y z 1] M [x y z 1]ᵀ is the radiance from that direction, for red, green and blue."""

    irradiance: NDArray[np.float64]
    """(3, 4, 4): the same for the irradiance on a surface with that normal."""

    ground_radiance: NDArray[np.float64]
    """(3,): cosine-weighted mean radiance of the lower half, what the ground bounces back."""


def ambient_light(environment: NDArray[np.float32]) -> Ambient:
    """Project a (h, 2h, 3) equirectangular environment, laid out as ``Scene.environment``."""
    rows, columns = environment.shape[:2]
    directions, solid_angle = _equirectangular(rows, columns)
    weighted = environment.astype(np.float64) * solid_angle[..., None]
    coefficients = np.einsum("hwk,hwc->ck", _basis(directions), weighted)
    down = np.maximum(-directions[..., 1], 0.0)
    ground = np.einsum("hwc,hw->c", weighted, down) / math.pi
    return Ambient(_forms(coefficients, (1.0, 1.0, 1.0)), _forms(coefficients, _IRRADIANCE_BANDS), ground)


def cosine_directions(count: int) -> NDArray[np.float64]:
    """(count, 3): the upper hemisphere by a Vogel spiral; each stands for π / count of cosine-weighted solid angle."""
    index = np.arange(count)
    radius = np.sqrt((index + 0.5) / count)
    angle = index * _GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), np.sqrt(1 - radius * radius), radius * np.sin(angle)], axis=1)


def disc_directions(center: tuple[float, float, float], radius_degrees: float, count: int) -> NDArray[np.float64]:
    """(count, 3): directions evenly within ``radius_degrees`` of ``center``, kept above the horizon."""
    axis = np.asarray(center)
    side = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[1]) > 0.9 else (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    index = np.arange(count)
    radius = math.tan(math.radians(radius_degrees)) * np.sqrt((index + 0.5) / count)
    angle = index * _GOLDEN_ANGLE
    offset = np.outer(radius * np.cos(angle), side) + np.outer(radius * np.sin(angle), np.cross(axis, side))
    directions = axis + offset
    directions[:, 1] = np.maximum(directions[:, 1], 0.05)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _equirectangular(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows, columns, 3) directions through the texel centres, and (rows, columns) solid angles in steradians."""
    polar = (np.arange(rows) + 0.5) / rows * math.pi
    azimuth = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * math.pi
    x, z = np.outer(np.sin(polar), np.sin(azimuth)), -np.outer(np.sin(polar), np.cos(azimuth))
    y = np.repeat(np.cos(polar)[:, None], columns, axis=1)
    edges = np.cos(np.arange(rows + 1) / rows * math.pi)
    solid_angle = np.repeat((edges[:-1] - edges[1:])[:, None] * 2 * math.pi / columns, columns, axis=1)
    return np.stack([x, y, z], axis=-1), solid_angle


def _basis(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 9): real spherical harmonics 1 | y z x | xy yz 3z²−1 xz x²−y², orthonormal."""
    x, y, z = np.moveaxis(directions, -1, 0)
    terms = [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    scale = [0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    return np.asarray(np.stack(terms, axis=-1) * np.array(scale))


def _forms(coefficients: NDArray[np.float64], bands: tuple[float, float, float]) -> NDArray[np.float64]:
    """(3, 4, 4) symmetric forms of (3, 9) coefficients whose bands are scaled by ``bands``."""
    scaled = coefficients * np.array([bands[0], *[bands[1]] * 3, *[bands[2]] * 5])
    forms = np.zeros((3, 4, 4))
    for form, (c0, c1y, c1z, c1x, cxy, cyz, czz, cxz, cxx) in zip(forms, scaled, strict=True):
        form[3, 3] = 0.282095 * c0 - 0.315392 * czz
        form[0, 3], form[1, 3], form[2, 3] = (0.488603 / 2 * c for c in (c1x, c1y, c1z))
        form[0, 1], form[1, 2], form[0, 2] = (1.092548 / 2 * c for c in (cxy, cyz, cxz))
        form[2, 2], form[0, 0], form[1, 1] = 3 * 0.315392 * czz, 0.546274 * cxx, -0.546274 * cxx
    return np.asarray(forms + np.triu(forms, 1).swapaxes(1, 2))
