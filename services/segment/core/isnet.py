"""The optional matte: what IS-Net sees.

Qin, Dai, Hu, Fan, Shao, Van Gool: "Highly accurate dichotomous image segmentation", ECCV 2022.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.networks import Network

SIZE = 1024
"""Width and height of the network's input and of its map."""

_MIDDLE, _RANGE = np.float32(128.0), np.float32(256.0)


class IsNet:
    """What comes before and after the network; ``map`` may be called from several threads at a time."""

    def __init__(self, network: Network) -> None:
        """``network`` is IS-Net, (n, 3, SIZE, SIZE) float32 to (n, 1, SIZE, SIZE) float32."""
        self._network = network

    def map(self, photo: NDArray[np.uint8], context: Context) -> NDArray[np.float32]:
        """How much each place belongs to what stands out, as ``lensora.core.saliency.Saliency.map`` but finer.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size; squeezed to a square, as the network was trained.
            context: asked while the network is at work.

        Returns:
            (SIZE, SIZE) float32 in [0, 1], covering the whole photo.
        """
        smaller = min(photo.shape[:2]) < SIZE
        square = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
        planes = ((square.astype(np.float32) - _MIDDLE) / _RANGE).transpose(2, 0, 1)[None]
        (fine,) = self._network(np.ascontiguousarray(planes), context)
        return np.clip(np.asarray(fine[0], dtype=np.float32), 0.0, 1.0)
