"""How a silhouette darkens the ground: the key light's cast shadow and the pool of occlusion at the foot.

A picture has no depth, so two assumptions stand in for it: seen from the light the subject is as wide as seen from the
camera, and its footprint is half as deep as it is wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lensora.core.scene import Scene
from services.background.core import lens
from services.background.core.framing import RayGrid
from services.background.core.lighting import key_share_of_ground
from services.background.core.noise import Check, FloatArray

_CONTACT = 0.02
"""Share of the subject's height up to which a column of it counts as standing on the ground."""

_FOOTPRINT_DEPTH = 0.5
"""Assumed depth of the footprint over its width."""

_WIDEST = 1.0
"""Growth of the penumbra per height above the ground that is still drawn: as of light 45 degrees to each side from
straight above. Wider ones darken the ground evenly, and would cost without end as the light comes down to it."""

_TOUCHING = 0.014
"""Metres around the foot that are darkest, in scenes made for subjects of 0.3 m."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A subject's outline at the plate's scale."""

    alpha: FloatArray
    """(h, w) coverage."""
    foot: tuple[float, float]
    """(x, y) in ``alpha`` of the middle of the foot."""
    metres_per_pixel: float


def shadow_transmission(silhouette: Silhouette, scene: Scene, rays: RayGrid, check: Check) -> FloatArray:
    """Share of the ground's light that is left, to multiply the plate's linear values with.

    ``check`` is called between its parts.

    Returns:
        (plate h, plate w, 3) in [0, 1]; 1 above the horizon.
    """
    transmission = np.ones((rays.height, rays.width, 3), np.float32)
    below_horizon = np.flatnonzero(np.isfinite(rays.ground_depth()))
    if not below_horizon.size:
        return transmission
    first = int(below_horizon[0])
    x, z = rays.ground_points(first)
    clearance = _clearance(silhouette)
    standing = np.count_nonzero(clearance <= _CONTACT * _bottom(silhouette) * silhouette.metres_per_pixel)
    deep = 0.5 * _FOOTPRINT_DEPTH * standing * silhouette.metres_per_pixel
    # the foot in the picture is the front of the footprint, so its middle lies behind the origin
    z += np.float32(deep)
    share = key_share_of_ground(scene).astype(np.float32)
    blocked_key = _cast(silhouette, scene, x, z, check)[..., None]
    check()
    tall = _bottom(silhouette) * silhouette.metres_per_pixel
    # a body hides up to half of the sky beside it; right where it touches, it hides most of everything
    blocked_sky = 0.5 * _near(silhouette, clearance, deep, x, z, 0.16 * tall)[..., None]
    check()
    touching = 0.7 * _near(silhouette, clearance, deep, x, z, min(_TOUCHING, tall))[..., None]
    transmission[first:] = (1.0 - share * blocked_key - (1.0 - share) * blocked_sky) * (1.0 - touching)
    check()
    return transmission


def _bottom(silhouette: Silhouette) -> int:
    """Rows of ``alpha`` above the ground."""
    return min(len(silhouette.alpha), max(1, round(silhouette.foot[1])))


def _cast(silhouette: Silhouette, scene: Scene, x: FloatArray, z: FloatArray, check: Check) -> FloatArray:
    """(h, w) share of the key blocked at ground points: the silhouette, turned to the light, laid on the ground.

    A ground point sees the outline at height y through a cone as wide as the light; so the outline is blurred by a
    disc that grows with y, and looked up.
    """
    light = np.array(scene.key_light.direction)
    level = math.hypot(light[0], light[2])
    # a light straight above has no side that it comes from
    level, towards = (level, light[[0, 2]] / level) if level > 1e-6 else (1e-6, np.array((0.0, 1.0)))
    across = np.array((-towards[1], towards[0]))
    across *= 1.0 if across[0] >= 0 else -1.0
    spread = min(math.tan(math.radians(scene.key_light.angular_radius_degrees)) / light[1], _WIDEST)
    bottom = _bottom(silhouette)
    reach = int(spread * bottom) + 2
    outline = np.pad(silhouette.alpha[:bottom], ((reach, 0), (reach, reach)))
    radii = spread * np.arange(len(outline), 0, -1, dtype=np.float64)
    blurred = lens.row_blur(outline[..., None], radii, check)[..., 0]
    # ground point = side · across, squashed in depth like the footprint, − reach of the shadow · towards
    basis = np.array(((across[0], -towards[0]), (across[1] * _FOOTPRINT_DEPTH, -towards[1])))
    solve = np.linalg.inv(basis).astype(np.float32)
    along = (x * solve[1, 0] + z * solve[1, 1]) * np.float32(
        light[1] / level
    )  # height at which the ray passes the card
    columns = (x * solve[0, 0] + z * solve[0, 1]) / silhouette.metres_per_pixel + reach + silhouette.foot[0] - 0.5
    rows = len(outline) - 0.5 - along / silhouette.metres_per_pixel
    # the card has no thickness, its shadow's near edge would be a hard line
    fade = np.clip(along / np.float32(0.004) + 0.5, 0.0, 1.0)
    seen = cv2.remap(
        blurred,
        columns.astype(np.float32),
        np.minimum(rows, len(outline) - 1).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(seen * fade, np.float32)


def _clearance(silhouette: Silhouette) -> FloatArray:
    """(w,) metres between the ground and the lowest opaque pixel of each column; inf where there is none."""
    solid = silhouette.alpha[: _bottom(silhouette)] >= 0.5
    above = np.argmax(solid[::-1], axis=0) * silhouette.metres_per_pixel
    return np.where(solid.any(axis=0), above, np.inf).astype(np.float32)


def _near(
    silhouette: Silhouette, clearance: FloatArray, deep: float, x: FloatArray, z: FloatArray, reach: float
) -> FloatArray:
    """(h, w) how near a ground point is to the subject's underside, 1 in contact, less over ``reach`` metres.

    The subject's width profile, weighted by its clearance, times a fall-off in depth.
    """
    spread = max(reach / silhouette.metres_per_pixel, 0.5)
    margin = int(3 * spread) + 1
    profile = np.pad(np.exp(-clearance / np.float32(reach)), margin)[None]
    profile = cv2.GaussianBlur(profile, (0, 0), sigmaX=spread, sigmaY=0.1, borderType=cv2.BORDER_CONSTANT)
    columns = x / np.float32(silhouette.metres_per_pixel) + np.float32(margin + silhouette.foot[0] - 0.5)
    across = cv2.remap(profile, columns, np.zeros_like(x), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(across * np.exp(-np.maximum(np.abs(z) - deep, 0.0) / np.float32(reach)), np.float32)
