"""Where a photo's subject is: U²-Net-p on the CPU, shared by detect and segment.

Qin, Zhang, Huang, Dehghan, Zaiane, Jagersand: "U²-Net: Going deeper with nested U-structure for salient object
detection", Pattern Recognition 106, 2020.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

SIZE = 320
"""Width and height of the network's input and of its map."""

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """An ONNX network on the CPU that uses ``threads`` threads per call; the same input gives the same output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # as fast without, and 190 MB less
    # waiting threads sleep rather than spin: the other stages need the cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Saliency:
    """The network, loaded once; ``map`` may be called from several threads at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path`` (``lensora.core.models.path("u2netp")``), to use ``threads`` threads per call."""
        self._session = session(path, threads)
        self._input = self._session.get_inputs()[0].name
        # the fused map; the six that follow it are the side outputs of training
        self._output = self._session.get_outputs()[0].name

    def map(self, photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How much each place belongs to what stands out.

        The photo is squeezed to a square, whatever its aspect, as the network was trained. The values are the
        network's own probabilities, *not* stretched to fill [0, 1] as its reference code does: a photo in which
        nothing stands out has a map that is low everywhere.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size.

        Returns:
            (SIZE, SIZE) float32 in [0, 1], covering the whole photo. The same photo gives the same map.
        """
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise ValueError(f"photo: (h, w, 3) uint8 expected, not {photo.shape} {photo.dtype}")
        smaller = min(photo.shape[:2]) < SIZE
        square = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA)
        scaled = square.astype(np.float32) / max(1, int(square.max()))  # the reference stretches to full white
        planes = ((scaled - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
        (fused,) = self._session.run([self._output], {self._input: np.ascontiguousarray(planes)})
        return np.clip(np.asarray(fused[0, 0], dtype=np.float32), 0.0, 1.0)
