"""Asks for weights that nobody gives it."""

from __future__ import annotations

from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """Never loads."""

    def load(self, setup: Setup) -> None:
        """Ask."""
        setup.text("weights")

    def infer(self, tensors: Tensors) -> Tensors:
        """Never called."""
        return tensors
