"""Does nothing: what a call of it takes is what Triton costs."""

from __future__ import annotations

import numpy as np

from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """``x`` (n, m) float32 → ``y`` the same, ``size`` (n, 1) int32 the m."""

    def load(self, setup: Setup) -> None:
        """Nothing to load."""

    def infer(self, tensors: Tensors) -> Tensors:
        """The same."""
        x = tensors["x"]
        return {"y": x, "size": np.full((len(x), 1), x.shape[1], np.int32)}
