"""Subjects drawn here, with their true shape and the true camera, as cut-outs to reconstruct."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from services.mesh3d.core.lathe import Lathe, fit_lathe
from services.mesh3d.core.silhouette import find_silhouette
from services.mesh3d.engine import ReconstructRequest, ReconstructResult
from services.mesh3d.engines.embedded import create
from services.mesh3d.settings import Settings

Cutout = NDArray[np.uint8]
Profile = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def draw_turned(profile: Profile, height: float, elevation: float, *, handle: bool = False, side: int = 240) -> Cutout:
    """A body of revolution seen orthographically from ``elevation`` degrees above, (side, side, 4).

    ``profile`` takes heights over ``height`` in [0, 1] to radii; a handle is a ring to the right of the body.
    """
    sin, cos = np.sin(np.radians(elevation)), np.cos(np.radians(elevation))
    widest = float(profile(np.linspace(0, 1, 200)).max())
    extent = 1.15 * max(widest * (1.7 if handle else 1.0), height / 2 * cos + widest * sin)
    ticks = ((np.arange(2 * side) + 0.5) / side - 1) * extent
    right, up = ticks[None, :], height / 2 * cos - ticks[:, None]
    at = _visible_height(profile, height, right, up, sin, cos)
    if handle:
        ring = np.abs(np.hypot(right - widest, up / cos - height / 2) - 0.3 * height)
        at = np.where(np.isnan(at) & (ring < 0.06 * height) & (right > 0), up / cos, at)
    lid = at > 0.999 * height
    at_or_zero = np.nan_to_num(at)
    stripes = 0.55 + 0.2 * np.sin(at_or_zero / height * 22)
    spots = 0.5 + 0.2 * np.sin(12 * right / widest) + 0 * stripes
    colour = np.stack([stripes, spots, np.full_like(stripes, 0.4)], axis=-1)
    colour *= (1 - 0.4 * np.abs(right) / extent)[..., None]
    return pack(np.where(lid[..., None], 0.12, colour), ~np.isnan(at))


def _visible_height(
    profile: Profile, height: float, right: NDArray[np.float64], up: NDArray[np.float64], sin: float, cos: float
) -> NDArray[np.float64]:
    """Y of what each pixel shows, NaN for nothing; discs are painted from the foot up, the nearer ones last."""
    if sin == 0.0:
        radius = np.where((up >= 0) & (up <= height), profile(np.clip(up / height, 0, 1)), -1.0)
        return np.where(np.abs(right) < radius, up, np.nan)
    shown = np.full((len(up), right.shape[1]), np.nan)
    for y in np.linspace(0.0, height, 900):
        widest = float(profile(np.array([y / height]))[0])
        z = (y * cos - up[:, 0]) / sin
        rows = np.flatnonzero(np.abs(z) < widest)
        if len(rows):
            band = slice(rows[0], rows[-1] + 1)
            shown[band][right**2 + z[band, None] ** 2 < widest**2] = y
    return shown


def pack(colour: NDArray[np.float64], hit: NDArray[np.bool_]) -> Cutout:
    """Halve the resolution to soften the outline; colours of the outline are the subject's alone."""
    alpha = hit.astype(np.float32)
    premultiplied = (colour * alpha[..., None]).astype(np.float32)
    size = (hit.shape[1] // 2, hit.shape[0] // 2)
    small, small_alpha = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (premultiplied, alpha))
    straight = np.asarray(small) / np.maximum(np.asarray(small_alpha), 1e-6)[..., None]
    return np.round(np.dstack([straight, np.asarray(small_alpha)]).clip(0, 1) * 255).astype(np.uint8)


def draw_mask(mask: NDArray[np.bool_]) -> Cutout:
    """A flat, smoothly coloured cut-out of any outline; colours do not depend on the outline."""
    rows, columns = np.indices(mask.shape)
    colour = np.stack([rows / mask.shape[0], columns / mask.shape[1], np.full(mask.shape, 0.5)], axis=-1)
    return np.round(np.dstack([colour, mask]) * 255).astype(np.uint8)


def cylinder(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full_like(at, 0.5)


def vase(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.3 + 0.2 * np.sin(at * np.pi * 1.25 + 0.4))


def bowl(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.7 * np.sqrt(0.15 + 0.85 * at))


def ball(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.clip(at * (1 - at), 0, None))


def bottle(at: NDArray[np.float64]) -> NDArray[np.float64]:
    shoulder = np.clip((at - 0.6) / 0.15, 0, 1)
    return np.asarray(0.125 - 0.08 * (1 - np.cos(shoulder * np.pi)) / 2)


def animal() -> NDArray[np.bool_]:
    """An outline that no axis explains: body, head, tail, legs."""
    mask = np.zeros((300, 400), np.uint8)
    cv2.ellipse(mask, (190, 150), (110, 55), 0, 0, 360, 1, -1)
    cv2.circle(mask, (310, 90), 45, 1, -1)
    cv2.line(mask, (90, 140), (40, 60), 1, 18)
    for column in (115, 150, 230, 265):
        cv2.line(mask, (column, 170), (column, 270), 1, 22)
    return mask > 0


def reconstruct(cutout: Cutout) -> ReconstructResult:
    return create(Settings()).run(ReconstructRequest(cutout), NullContext())


def lathe_of(cutout: Cutout) -> Lathe:
    lathe = fit_lathe(find_silhouette(cutout))
    assert lathe is not None
    return lathe


@pytest.fixture(scope="session")
def mug() -> Cutout:
    return draw_turned(cylinder, 1.0, 20.0, handle=True)
