"""The layout of a scene as a picture that a text-to-image model can be guided by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera
from services.background.core.framing import RayGrid


def inverse_depth(camera: Camera, width: int, height: int) -> NDArray[np.uint8]:
    """What a monocular depth network would say of the empty ground: the guidance that depth ControlNets learnt from.

    Args:
        camera: without roll; the ground is y = 0.
        width: pixels.
        height: pixels.

    Returns:
        (height, width) uint8, the inverse of the depth: 255 at the nearest ground in view, 0 from the horizon up.
    """
    rows = 1.0 / RayGrid(camera, width, height).ground_depth()
    nearest = float(rows.max())
    shades = np.zeros(height) if nearest == 0.0 else rows / nearest * 255.0
    return np.ascontiguousarray(np.broadcast_to(np.round(shades)[:, None], (height, width)).astype(np.uint8))
