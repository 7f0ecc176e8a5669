"""Where a photo's subject is: what U²-Net-p sees, shared by detect and segment.

Qin, Zhang, Huang, Dehghan, Zaiane, Jagersand: "U²-Net: Going deeper with nested U-structure for salient object
detection", Pattern Recognition 106, 2020.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.networks import Network

SIZE = 320
"""Width and height of the network's input and of its map."""

COARSE = 8
"""Cells of the map. What has no structure of this size, a 40th of the picture, is noise, sand or gravel."""

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class Saliency:
    """What comes before and after the network; ``map`` may be called from several threads at a time."""

    def __init__(self, network: Network) -> None:
        """``network`` is U²-Net-p, (n, 3, SIZE, SIZE) float32 to (n, 1, SIZE, SIZE) float32."""
        self._network = network

    def map(self, photo: NDArray[np.uint8], context: Context) -> NDArray[np.float32]:
        """How much each place belongs to what stands out.

        The photo is squeezed to a square, whatever its aspect, as the network was trained. The values are the
        network's own probabilities, *not* stretched to fill [0, 1] as its reference code does: a photo in which
        nothing stands out has a map that is low everywhere. On noise, which no photo that it learnt from was like, the
        network says anything at all, so it is not asked.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size.
            context: asked while the network is at work.

        Returns:
            (SIZE, SIZE) float32 in [0, 1], covering the whole photo. The same photo gives the same map.
        """
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ValueError(f"photo: (h, w, 3) uint8 expected, not {photo.shape} {photo.dtype}")
        smaller = min(photo.shape[:2]) < SIZE
        square = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
        if is_noise(np.asarray(square)):
            return np.zeros((SIZE, SIZE), np.float32)
        scaled = square.astype(np.float32) / max(1, int(square.max()))  # the reference stretches to full white
        planes = ((scaled - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
        (fused,) = self._network(np.ascontiguousarray(planes), context)
        return np.clip(np.asarray(fused[0], dtype=np.float32), 0.0, 1.0)


def is_noise(square: NDArray[np.uint8]) -> bool:
    """Whether a picture is plain, or has neither lumps of ``COARSE`` cells in any colour nor one thing that is apart.

    In noise of any grain finer than that, places ``COARSE`` cells away know nothing of each other: their correlation
    is within ±0.015 of 0. Of 37 test photos gravel comes to 0.00 and grass to 0.04; the next is a deep-field picture of
    the sky with 0.09, and things on backgrounds begin at 0.27.

    Args:
        square: (n, n, 3) uint8.
    """
    centred = square.astype(np.float32) - square.mean(axis=(0, 1), dtype=np.float32)
    variance = np.maximum((centred**2).mean(axis=(0, 1)), 1e-6)
    across = (centred[:, COARSE:] * centred[:, :-COARSE]).mean(axis=(0, 1)) / variance
    down = (centred[COARSE:] * centred[:-COARSE]).mean(axis=(0, 1)) / variance
    apart = np.abs(centred).max(axis=(0, 1)) / np.sqrt(variance)  # 1.7 in even noise, 4.5 in normal noise
    return bool(max(across.max(), down.max()) < 0.03 and apart.max() < 8)
