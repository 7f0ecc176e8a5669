"""What a crop shows: EfficientNet-Lite3 with the 1,000 classes of ImageNet, quantised to 8 bits.

Tan and Le: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.geometry import Box
from lensora.core.networks import Network

SIZE = 280
"""Width and height of the network's input."""


class Classifier:
    """What comes before and after the network."""

    def __init__(self, network: Network) -> None:
        """``network`` is EfficientNet-Lite3, (n, SIZE, SIZE, 3) uint8 to (n, 1000) uint8."""
        self._network = network

    def probabilities(self, photo: NDArray[np.uint8], boxes: Sequence[Box], context: Context) -> NDArray[np.float32]:
        """How likely each class is for what each box shows.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB.
            boxes: of the photo, normalised; squeezed to squares, whatever their aspect.
            context: asked while the network is at work.

        Returns:
            (boxes, 1000) float32 in [0, 1], in steps of 1/256.
        """
        steps = self._network(np.stack([_square(photo, box) for box in boxes]), context)
        return np.asarray(steps, dtype=np.float32) / np.float32(256)


def _square(photo: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    left, top, right, bottom = box.pixels(photo.shape[1], photo.shape[0])
    crop = photo[top:bottom, left:right]
    smaller = min(crop.shape[:2]) < SIZE
    square = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
    return np.asarray(square, dtype=np.uint8)
