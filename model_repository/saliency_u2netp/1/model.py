"""U²-Net-p: the map that ``lensora.core.saliency`` asks for, by the network that the embedded engines run."""

from __future__ import annotations

from lensora.core import models
from lensora.core.engines import NullContext
from lensora.core.networks import Onnx
from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """``planes`` (n, 3, 320, 320) float32 → ``map`` (n, 1, 320, 320) float32."""

    def load(self, setup: Setup) -> None:
        """See ``Batched``."""
        self._network = Onnx(models.path("u2netp"), setup.number("threads"))

    def infer(self, tensors: Tensors) -> Tensors:
        """See ``Batched``."""
        return {"map": self._network(tensors["planes"], NullContext())}
