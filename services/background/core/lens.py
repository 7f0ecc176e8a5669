"""Out-of-focus blur: a thin lens's circle of confusion, applied in linear light."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from services.background.core.noise import Check, FloatArray, nothing

_LARGEST_KERNEL_RADIUS = 10.0
_LADDER = math.sqrt(2.0)


def blur_radius(depth: NDArray[np.float64], focus: float, aperture: float, focal_pixels: float) -> NDArray[np.float64]:
    """Radius of the circle of confusion, pixels (Potmesil & Chakravarty, 1981, for a lens focused at ``focus``).

    Args:
        depth: any shape, metres along the line of sight; inf is allowed.
        focus: metres to the plane in focus.
        aperture: diameter of the lens opening, metres.
        focal_pixels: focal length in pixels.
    """
    return 0.5 * aperture * np.abs(1.0 / depth - 1.0 / focus) * focal_pixels


def disc_blur(picture: FloatArray, radius: float) -> FloatArray:
    """Mean over a disc of ``radius`` pixels, its edge antialiased; linear light in, linear light out.

    Args:
        picture: (h, w) or (h, w, c) float32.
        radius: pixels; below a third of one the picture itself comes back.
    """
    if radius < 0.34:
        return picture
    height, width = picture.shape[:2]
    if radius > _LARGEST_KERNEL_RADIUS and min(height, width) >= 8:
        half = cv2.resize(picture, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
        small = disc_blur(np.asarray(half, np.float32), radius * half.shape[0] / height)
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large, np.float32).reshape(picture.shape)
    reach = math.ceil(radius + 0.5)
    offset = np.arange(-reach, reach + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(offset[:, None], offset[None, :]), 0.0, 1.0)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    blurred = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32).reshape(picture.shape)


def row_blur(picture: FloatArray, radii: NDArray[np.float64], check: Check = nothing) -> FloatArray:
    """Disc blur whose radius changes from row to row: a plane seen without roll, out of focus.

    Blends a ladder of uniform blurs, each computed only for the rows that use it.

    Args:
        picture: (h, w, c) float32.
        radii: (h,) pixels, smooth from row to row.
        check: called after each rung.
    """
    # rung k has radius 0.5 * sqrt(2)**k, rung 0 being no blur
    rung = np.log(np.maximum(radii, 0.25) / 0.5) / math.log(_LADDER) + 1.0
    rung = np.maximum(rung, 0.0)
    blurred = np.zeros_like(picture)
    for step in range(int(rung.max()) + 2):
        weight = np.clip(1.0 - np.abs(rung - step), 0.0, 1.0).astype(np.float32)
        used = np.flatnonzero(weight)
        if not used.size:
            continue
        radius = 0.0 if step == 0 else 0.5 * _LADDER ** (step - 1)
        first, last = int(used[0]), int(used[-1]) + 1
        reach = math.ceil(radius) + 2
        top, bottom = max(0, first - reach), min(len(picture), last + reach)
        rows = disc_blur(picture[top:bottom], radius)[first - top : last - top]
        blurred[first:last] += rows * weight[first:last, None, None]
        check()
    return blurred
