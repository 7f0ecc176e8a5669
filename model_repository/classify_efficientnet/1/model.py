"""EfficientNet-Lite3: the classes that ``services.detect`` asks for, by the network that its embedded engine runs."""

from __future__ import annotations

from lensora.core import models
from lensora.core.engines import NullContext
from lensora.core.networks import LiteRt
from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """``picture`` (n, 280, 280, 3) uint8 → ``steps`` (n, 1000) uint8, probabilities in steps of 1/256."""

    def load(self, setup: Setup) -> None:
        """See ``Batched``."""
        self._network = LiteRt(models.path("efficientnet-lite3"), setup.number("threads"))

    def infer(self, tensors: Tensors) -> Tensors:
        """See ``Batched``."""
        return {"steps": self._network(tensors["picture"], NullContext())}
