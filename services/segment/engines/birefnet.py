"""Segmentation by BiRefNet in Triton: its alpha is fine enough to be cut along as it is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.runtime.hosted import Hosted, Share, Streaming, connect
from services.segment.core.cutout import cut_along
from services.segment.engines import embedded
from services.segment.settings import Settings

NAME = "birefnet"
MODEL = "matte_birefnet"

SIDE = 1024
"""What the network sees, and so how fine its alpha is: more need not travel."""


class Matte:
    """The network, as ``lensora.core.saliency.Saliency`` is asked."""

    def __init__(self, network: Streaming) -> None:
        self._network = network

    def map(self, photo: NDArray[np.uint8], context: Context) -> NDArray[np.float32]:
        """How much of each place is subject.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size; squeezed to a square, as the network was trained.
            context: of the run.

        Returns:
            (SIDE, SIDE) float32 in [0, 1], covering the whole photo.
        """
        smaller = min(photo.shape[:2]) < SIDE
        method = cv2.INTER_LINEAR if smaller else cv2.INTER_AREA
        square = np.asarray(cv2.resize(photo, (SIDE, SIDE), interpolation=method), np.uint8)
        said = self._network.stream({"photo": square}, {}, context, Share("removing-bg", 0.1, 0.5))
        return np.asarray(said["alpha"], np.float32) / np.float32(255.0)


class BiRefNet(embedded.Embedded):
    """Crop, look, choose, cut along."""

    name = NAME
    version = "1"

    def __init__(self, network: Streaming) -> None:
        super().__init__(Matte(network), NAME, cut_along)
        self.version = "1"


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet.

    Raises:
        ModelMissing, ModelAltered: the embedded engine shall stand in, and its model is not there or not whole.
    """
    network = connect(settings)(MODEL, "", "")
    spare = embedded.create(settings) if settings.triton_fallback else None
    return Hosted(BiRefNet(network), (network,), spare, NAME)
