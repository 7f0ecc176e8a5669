"""Florence-2: boxes and free words for what is in a photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lensora.serving.model import Decoupled, Report, Tensors
from lensora.serving.requests import picture, whole
from lensora.serving.setup import Setup
from lensora.serving.vocabulary import Florence
from lensora.serving.weights import load, precision


class TritonPythonModel(Decoupled):
    """``photo`` (h, w, 3) uint8 sRGB → ``boxes`` (n, 4) float32, ``labels`` (n,), ``scores`` (n,) float32; best first.

    Parameters: ``limit``, the most boxes, 1 to 64, default 8. Boxes are normalised x1, y1, x2, y2, origin top left.
    """

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        self._network: Florence = load(setup, Florence, device=setup.device, dtype=precision(setup))

    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:
        """See ``Decoupled``."""
        photo = picture(tensors, "photo", 3)
        found = self._network.find(photo, whole(parameters, "limit", 8, 1, 64), report)
        return {
            "boxes": np.array([region.box for region in found], np.float32).reshape(-1, 4),
            "scores": np.array([region.score for region in found], np.float32),
            "labels": np.array([region.label.encode() for region in found], object),
        }
