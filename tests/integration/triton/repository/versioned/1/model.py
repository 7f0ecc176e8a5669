"""Says which version it is."""

from __future__ import annotations

import numpy as np

from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """``x`` (n, 1) float32 → ``version`` (n, 1) text."""

    def load(self, setup: Setup) -> None:
        """Nothing to load."""

    def infer(self, tensors: Tensors) -> Tensors:
        """Its version, once a row."""
        return {"version": np.full((len(tensors["x"]), 1), self.setup.version.encode(), dtype=object)}
