"""What a crop shows: EfficientNet-Lite3 with the 1,000 classes of ImageNet, quantised to 8 bits, in LiteRT.

Tan and Le: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]
from numpy.typing import NDArray

from lensora.core.geometry import Box

SIZE = 280
"""Width and height of the network's input."""


class Classifier:
    """The network, loaded once; ``probabilities`` may be called from several threads, which take turns."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path``, to use ``threads`` threads per call."""
        self._interpreter = Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._turn = threading.Lock()

    def probabilities(self, photo: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """How likely each class is for what the box shows.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB.
            box: of the photo, normalised; squeezed to a square, whatever its aspect.

        Returns:
            (1000,) float32 in [0, 1], in steps of 1/256.
        """
        height, width = photo.shape[:2]
        left, top, right, bottom = box.pixels(width, height)
        crop = photo[top:bottom, left:right]
        smaller = min(crop.shape[:2]) < SIZE
        square = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
        with self._turn:  # an interpreter keeps its input and output between the calls
            self._interpreter.set_tensor(self._input, square[None])
            self._interpreter.invoke()
            steps = self._interpreter.get_tensor(self._output)[0]
        return np.asarray(steps, dtype=np.float32) / np.float32(256)
