"""Boxes of known size, drawn with numpy by casting a ray through each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.unit.mesh3d.conftest import Cutout, pack

Picture = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A carton with a printed label on each face, on the ground, before a camera that looks at its middle."""

    width: float
    height: float
    depth: float
    yaw: float = -35.0
    """Degrees about +y; negative shows the right face."""

    elevation: float = 25.0
    roll: float = 0.0
    distance: float = np.inf
    """Of the camera, in longest sides."""

    @property
    def sizes(self) -> NDArray[np.float64]:
        return np.array([self.width, self.height, self.depth])

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3): rows are the box's axes in the camera's right, up, and towards it."""
        return np.array(
            cv2.Rodrigues(np.radians([0.0, 0.0, self.roll]))[0]
            @ cv2.Rodrigues(np.radians([self.elevation, 0.0, 0.0]))[0]
            @ cv2.Rodrigues(np.radians([0.0, self.yaw, 0.0]))[0]
        ).T


def label(face: str, side: int = 160) -> Picture:
    """(side, side, 3) print in [0, 1]: a plain ground, a frame, and letters, none of it symmetric."""
    ground = {"front": (200, 60, 50), "right": (60, 110, 190), "top": (225, 195, 90)}[face]
    picture = np.full((side, side, 3), ground, np.uint8)
    cv2.rectangle(picture, (12, 12), (side - 13, side - 13), (250, 245, 235), 4, cv2.LINE_AA)
    cv2.putText(picture, face[:3].upper(), (20, side // 2), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (30, 30, 40), 5, cv2.LINE_AA)
    cv2.circle(picture, (side - 40, side - 40), 15, (255, 255, 255), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0) / 255.0)


def draw_box(box: Box, side: int = 480) -> Cutout:
    """(side, side, 4) cut-out, twice oversampled."""
    sizes, axes = box.sizes, box.axes
    reach = 0.58 * float(np.linalg.norm(sizes)) * (1.15 if np.isfinite(box.distance) else 1.0)
    ticks = ((np.arange(2 * side) + 0.5) / side - 1) * reach
    right, up = np.meshgrid(ticks, -ticks)
    away = box.distance * sizes.max()
    if np.isfinite(away):
        start = np.broadcast_to((0.0, 0.0, away), (*right.shape, 3))
        heading = np.stack([right, up, np.full_like(right, -away)], axis=-1)
    else:
        start = np.stack([right, up, np.full_like(right, 10 * reach)], axis=-1)
        heading = np.broadcast_to((0.0, 0.0, -1.0), start.shape)
    # into the box's own axes, where the slab method applies (Kay and Kajiya, 1986)
    start, heading = start @ axes.T, heading @ axes.T
    heading = np.where(np.abs(heading) < 1e-12, 1e-12, heading)
    entries = (-np.sign(heading) * sizes / 2 - start) / heading
    exits = (np.sign(heading) * sizes / 2 - start) / heading
    first, axis = entries.max(axis=-1), entries.argmax(axis=-1)
    hit = first < exits.min(axis=-1)
    x, y, z = np.moveaxis((start + first[..., None] * heading) / sizes, -1, 0)
    colour = np.zeros((*right.shape, 3))
    for index, (face, u, v) in enumerate((("right", -z, -y), ("top", x, z), ("front", x, -y))):
        chart = label(face).astype(np.float32)
        across, down = (((each + 0.5) * len(chart) - 0.5).astype(np.float32) for each in (u, v))
        shown = cv2.remap(chart, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colour = np.where((axis == index)[..., None], shown, colour)
    return pack(colour, hit)
