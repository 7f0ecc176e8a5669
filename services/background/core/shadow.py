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
from services.background.core.noise import FloatArray

_BASE_SHARE = 0.06
"""The lowest share of the subject's height that counts as its footprint."""

_FOOTPRINT_DEPTH = 0.5
"""Assumed depth of the footprint over its width."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A subject's outline at the plate's scale."""

    alpha: FloatArray
    """(h, w) coverage."""
    foot: tuple[float, float]
    """(x, y) in ``alpha`` of the middle of the foot."""
    metres_per_pixel: float


def shadow_transmission(silhouette: Silhouette, scene: Scene, rays: RayGrid) -> FloatArray:
    """Share of the ground's light that is left, to multiply the plate's linear values with.

    Returns:
        (plate h, plate w, 3) in [0, 1]; 1 above the horizon.
    """
    depth = rays.ground_depth()
    _, ray_z = rays.rows()
    first = int(np.argmax(np.isfinite(depth)))
    near = depth[first:]
    x = np.multiply.outer(near, rays.columns()).astype(np.float32)
    z = np.broadcast_to((rays.camera.position[2] + near * ray_z[first:])[:, None], x.shape).astype(np.float32)
    half_width = _footprint_half_width(silhouette)
    # the foot in the picture is the front of the footprint, so its middle lies behind the origin
    z = z + np.float32(_FOOTPRINT_DEPTH * half_width)
    share = key_share_of_ground(scene).astype(np.float32)
    blocked_key = _cast(silhouette, scene, x, z)[..., None]
    blocked_sky = _pool(silhouette, half_width, x, z)[..., None]
    transmission = np.ones((rays.height, rays.width, 3), np.float32)
    transmission[first:] = (1.0 - share * blocked_key) + (share - 1.0) * blocked_sky
    return transmission


def _footprint_half_width(silhouette: Silhouette) -> float:
    """Metres."""
    bottom = min(len(silhouette.alpha), max(1, round(silhouette.foot[1])))
    rows = max(1, round(_BASE_SHARE * bottom))
    solid = np.flatnonzero((silhouette.alpha[bottom - rows : bottom] >= 0.5).any(axis=0))
    width = int(solid[-1] - solid[0]) + 1 if solid.size else 1
    return 0.5 * width * silhouette.metres_per_pixel


def _cast(silhouette: Silhouette, scene: Scene, x: FloatArray, z: FloatArray) -> FloatArray:
    """(h, w) share of the key blocked at ground points: the silhouette, turned to the light, laid on the ground.

    A ground point sees the outline at height y through a cone as wide as the light; so the outline is blurred by a
    disc that grows with y, and looked up.
    """
    light = np.array(scene.key_light.direction)
    level = max(math.hypot(light[0], light[2]), 1e-6)
    towards = light[[0, 2]] / level
    across = np.array((-towards[1], towards[0]))
    across *= 1.0 if across[0] >= 0 else -1.0
    spread = math.tan(math.radians(scene.key_light.angular_radius_degrees)) / light[1]
    bottom = min(len(silhouette.alpha), max(1, round(silhouette.foot[1])))
    reach = int(spread * bottom) + 2
    outline = np.pad(silhouette.alpha[:bottom], ((reach, 0), (reach, reach)))
    radii = spread * np.arange(len(outline), 0, -1, dtype=np.float64)
    blurred = lens.row_blur(outline[..., None], radii)[..., 0]
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


def _pool(silhouette: Silhouette, half_width: float, x: FloatArray, z: FloatArray) -> FloatArray:
    """(h, w) share of the surroundings' light blocked: all but all of it at the contact, less with distance.

    A tall body beside a ground point hides up to half of the sky, and at height/2 away a good deal less.
    """
    tall = silhouette.foot[1] * silhouette.metres_per_pixel
    deep = _FOOTPRINT_DEPTH * half_width
    outside = np.maximum(np.hypot(x / half_width, z / deep) - 1.0, 0.0) * math.sqrt(half_width * deep)
    contact = np.exp(-outside / np.float32(0.006 + 0.02 * half_width))
    ambient = np.exp(-outside / np.float32(0.28 * tall + 1e-6))
    return np.asarray(0.45 * contact + 0.50 * ambient, np.float32)
