"""The still: a cut-out's own pixels set into a scene, in linear light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import FailedPrecondition, InvalidArgument
from lensora.core.imaging import linear_to_srgb, srgb_to_linear
from lensora.core.scene import Scene
from services.background.core.framing import RayGrid
from services.background.core.noise import Check, FloatArray
from services.background.core.shadow import Silhouette, shadow_transmission

_STRIP_ROWS = 256

_LARGEST = 2.0
"""Widths or heights of the plate that a subject may fill: what lies outside costs as much as what is seen."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cut-out goes in the plate."""

    scale: float
    """Plate pixels per cut-out pixel."""
    foot: tuple[float, float]
    """Plate pixel (x, y) of the subject's foot, the projected origin."""
    metres_per_pixel: float
    """Of the plate, at the origin."""


def compose(cutout: NDArray[np.uint8], scene: Scene, tick: Callable[[float], None]) -> NDArray[np.uint8]:
    """Composite a cut-out into a scene with its contact shadow.

    Args:
        cutout: (h, w, 4) 8-bit sRGB, straight alpha.
        scene: where it stands; its plate gives the still's size.
        tick: called with the fraction done, at least every 200 ms of work.

    Returns:
        (plate h, plate w, 3) 8-bit sRGB.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``; no pixel is at least half opaque.
        InvalidArgument: see ``place``.
    """
    left, top, right, bottom = subject_bounds(cutout[..., 3])
    placed = place(right - left, bottom - top, scene)
    layer, corner = _layer(cutout, (left, top, right, bottom), placed, lambda done: tick(0.5 * done))
    rays = RayGrid(scene.camera, scene.plate.shape[1], scene.plate.shape[0])
    column = (placed.foot[0] - corner[0], placed.foot[1] - corner[1])
    silhouette = Silhouette(layer[..., 3], column, placed.metres_per_pixel)
    linear = srgb_to_linear(scene.plate)
    tick(0.5)
    linear *= shadow_transmission(silhouette, scene, rays, partial(tick, 0.5))
    tick(0.8)
    _over(linear, layer, corner)
    return _encoded(linear, partial(tick, 0.8))


def subject_bounds(alpha: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """``(left, top, right, bottom)`` of the pixels (h, w) that are at least half opaque.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``; there are none.
    """
    solid = alpha >= 128
    columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
    if not columns.size:
        raise FailedPrecondition("The cut-out is empty; choose an object that stands out.", reason="NO_SUBJECT")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def place(width: int, height: int, scene: Scene) -> Placement:
    """Stand a subject of ``width`` × ``height`` cut-out pixels at the origin, on a card that faces the camera.

    Raises:
        InvalidArgument: field ``scene.camera``; it does not see the origin, or is far too close to it.
    """
    rays = RayGrid(scene.camera, scene.plate.shape[1], scene.plate.shape[0])
    depth = -float(scene.camera.view_matrix()[2, 3])
    if depth <= 0:
        raise InvalidArgument.of("scene.camera", "must look towards the subject's place, the origin")
    pixels_per_metre = rays.focal / depth
    scale = scene.subject_scale(width, height) * pixels_per_metre
    if max(width * scale / rays.width, height * scale / rays.height) > _LARGEST:
        message = f"too close: the subject would be over {_LARGEST:g} times as large as the plate"
        raise InvalidArgument.of("scene.camera", message)
    x, y = scene.camera.project(np.zeros((1, 3)), rays.width, rays.height)[0]
    return Placement(scale, (float(x), float(y)), 1 / pixels_per_metre)


def _layer(
    cutout: NDArray[np.uint8], bounds: tuple[int, int, int, int], placed: Placement, tick: Callable[[float], None]
) -> tuple[FloatArray, tuple[int, int]]:
    """The cut-out at the plate's scale: (h, w, 4) premultiplied linear, and its top left corner (x, y) in the plate."""
    left, top, right, bottom = bounds
    shrink = max(1, int(1 / placed.scale))
    # the soft edge reaches a little beyond the half-opaque bounds
    margin = 4 * shrink
    x0, y0 = max(0, left - margin), max(0, top - margin)
    x1, y1 = min(cutout.shape[1], right + margin), min(cutout.shape[0], bottom + margin)
    small = _block_means(cutout[y0:y1, x0:x1], shrink, tick)
    width, height = (max(1, round(extent * placed.scale)) for extent in (x1 - x0, y1 - y0))
    method = cv2.INTER_AREA if placed.scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(small, (width, height), interpolation=method), np.float32)
    layer = np.clip(resized, 0.0, np.maximum(resized[..., 3:], 0.0))  # cubic overshoots; colour never exceeds alpha
    layer = np.minimum(layer, 1.0)
    corner_x = placed.foot[0] - ((left + right) / 2 - x0) * placed.scale
    corner_y = placed.foot[1] - (bottom - y0) * placed.scale
    return layer, (round(corner_x), round(corner_y))


def _block_means(cutout: NDArray[np.uint8], size: int, tick: Callable[[float], None]) -> FloatArray:
    """Means over ``size`` × ``size`` blocks of premultiplied linear colour; a strip at a time, as photos are large."""
    height, width = cutout.shape[:2]
    strips = []
    step = size * max(1, _STRIP_ROWS // size)
    for top in range(0, height, step):
        strip = cutout[top : top + step]
        premultiplied = np.empty((*strip.shape[:2], 4), np.float32)
        premultiplied[..., 3] = strip[..., 3] * np.float32(1 / 255)
        premultiplied[..., :3] = srgb_to_linear(strip[..., :3]) * premultiplied[..., 3:]
        small = (max(1, round(width / size)), max(1, round(len(strip) / size)))
        strips.append(cv2.resize(premultiplied, small, interpolation=cv2.INTER_AREA) if size > 1 else premultiplied)
        tick(min(1.0, (top + step) / height))
    return np.concatenate(strips)


def _encoded(linear: FloatArray, check: Check) -> NDArray[np.uint8]:
    """``linear_to_srgb`` a strip at a time."""
    still = np.empty(linear.shape, np.uint8)
    for top in range(0, len(linear), _STRIP_ROWS):
        still[top : top + _STRIP_ROWS] = linear_to_srgb(linear[top : top + _STRIP_ROWS])
        check()
    return still


def _over(plate: FloatArray, layer: FloatArray, corner: tuple[int, int]) -> None:
    """Porter & Duff's "over", in place; what falls outside the plate is cut off."""
    x, y = corner
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(plate.shape[1], x + layer.shape[1]), min(plate.shape[0], y + layer.shape[0])
    if x0 < x1 and y0 < y1:
        part = layer[y0 - y : y1 - y, x0 - x : x1 - x]
        plate[y0:y1, x0:x1] = plate[y0:y1, x0:x1] * (1.0 - part[..., 3:]) + part[..., :3]
