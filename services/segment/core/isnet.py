"""The optional matte: IS-Net on the CPU.

Qin, Dai, Hu, Fan, Shao, Van Gool: "Highly accurate dichotomous image segmentation", ECCV 2022.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.saliency import session

SIZE = 1024
"""Width and height of the network's input and of its map."""

_MIDDLE, _RANGE = np.float32(128.0), np.float32(256.0)


class IsNet:
    """The network, loaded once; ``map`` may be called from several threads at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path`` (``lensora.core.models.path("isnet")``), to use ``threads`` threads per call."""
        self._session = session(path, threads)
        self._input = self._session.get_inputs()[0].name
        # the finest map; what follows it are the side outputs of training
        self._output = self._session.get_outputs()[0].name

    def map(self, photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How much each place belongs to what stands out, as ``lensora.core.saliency.Saliency.map`` but finer.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size; squeezed to a square, as the network was trained.

        Returns:
            (SIZE, SIZE) float32 in [0, 1], covering the whole photo.
        """
        smaller = min(photo.shape[:2]) < SIZE
        square = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
        planes = ((square.astype(np.float32) - _MIDDLE) / _RANGE).transpose(2, 0, 1)[None]
        (fine,) = self._session.run([self._output], {self._input: np.ascontiguousarray(planes)})
        return np.clip(np.asarray(fine[0, 0], dtype=np.float32), 0.0, 1.0)
