"""Boxes of everyday things: SSD with MobileNetV2, trained on COCO.

Liu et al.: "SSD: Single Shot MultiBox Detector", ECCV 2016; Sandler et al.: "MobileNetV2", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.geometry import Box
from lensora.core.networks import Network
from services.detect.core.labels import COCO, COCO_CATEGORIES

SIZE = 300
"""Width and height of the network's input."""

MIN_SCORE = 0.3
"""Confidence under which a detection is noise."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that the detector knows."""

    label: str
    category: str
    box: Box
    """Normalised."""

    score: float
    """The network's confidence, in [0, 1]."""


class Detector:
    """What comes before and after the network."""

    def __init__(self, network: Network) -> None:
        """``network`` is the SSD, (n, SIZE, SIZE, 3) uint8 to (n, rows, 7) float32."""
        self._network = network

    def find(self, photo: NDArray[np.uint8], context: Context) -> tuple[Detection, ...]:
        """Everything the network knows with at least ``MIN_SCORE``, surest first.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size; squeezed to a square, as the network was trained.
            context: asked while the network is at work.
        """
        square = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        rows = np.asarray(self._network(np.asarray(square)[None], context)[0], dtype=np.float64)
        return tuple(filter(None, map(_detection, rows[np.argsort(-rows[:, 2], kind="stable")])))


def _detection(row: NDArray[np.float64]) -> Detection | None:
    """From (picture, class, score, x1, y1, x2, y2); None for noise, unknown classes and empty boxes."""
    number, score = int(row[1]), float(row[2])
    x1, y1, x2, y2 = (float(value) for value in np.clip(row[3:], 0.0, 1.0))
    if number not in COCO or score < MIN_SCORE or not (x1 < x2 and y1 < y2):
        return None
    return Detection(COCO[number], COCO_CATEGORIES[number], Box(x1, y1, x2, y2), min(1.0, score))
