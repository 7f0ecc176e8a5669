"""How the subject turns during a film, and the clamp that keeps a slab from showing its edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

THIN_AXIS_RATIO = 0.30
"""Below this a mesh is treated as a slab from some side."""

ROUND_FOOTPRINT = 0.5
"""A footprint whose shorter side is at least this share of the longer is no slab from any side: a bottle, a vase."""

ROCKING_DEGREES = 60.0
"""A clamped film rocks this far to either side of the front."""


@dataclass(frozen=True, slots=True)
class Arc:
    """The subject's yaw, frame by frame."""

    yaws_degrees: NDArray[np.float64]
    """(frames,) about +Y, counter-clockwise seen from above; 0 shows the front."""

    degrees: float
    """How far the subject turns from one end of the arc to the other."""

    clamped: bool


def footprint_ratio(vertices: NDArray[np.floating]) -> float:
    """Shorter over longer side of the smallest rectangle around the (n, 3) vertices seen from above, in [0, 1]."""
    points = np.ascontiguousarray(vertices[:, (0, 2)], dtype=np.float32)
    _, sides, _ = cv2.minAreaRect(points)
    return min(sides) / max(sides)


def is_slab(thin_axis_ratio: float, footprint: float) -> bool:
    """The arc clamp's rule: thin, and not because it is tall over a round foot."""
    return thin_axis_ratio < THIN_AXIS_RATIO and footprint < ROUND_FOOTPRINT


def turntable(frames: int, *, slab: bool) -> Arc:
    """A loop whose first frame shows the front: a full turn at constant speed, or for a slab a rocking arc.

    Frame ``frames`` would repeat frame 0, so a player that loops the film shows no jolt. The rocking is a sine: it
    slows at its ends as a hand would.
    """
    phase = np.arange(frames) / frames
    if slab:
        return Arc(ROCKING_DEGREES * np.sin(2 * np.pi * phase), 2 * ROCKING_DEGREES, clamped=True)
    return Arc(360.0 * phase, 360.0, clamped=False)


def half_turn(frames: int, *, slab: bool) -> Arc:
    """From the subject's own left (+X) past its front to its right; for a slab, one swing of the rocking arc."""
    reach = ROCKING_DEGREES if slab else 90.0
    return Arc(reach * (2 * eased(frames) - 1), 2 * reach, clamped=slab)


def standing(frames: int) -> Arc:
    """No turn at all: the front, all the time."""
    return Arc(np.zeros(frames), 0.0, clamped=False)


def eased(frames: int) -> NDArray[np.float64]:
    """(frames,) float64 from 0 to 1, slow at both ends: 3t² − 2t³."""
    time = np.arange(frames) / max(frames - 1, 1)
    return time * time * (3 - 2 * time)
