"""SSD-MobileNetV2: the rows that ``services.detect`` asks for, by the network that its embedded engine runs."""

from __future__ import annotations

import cv2

from lensora.core import models
from lensora.core.engines import NullContext
from lensora.core.networks import Ssd
from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Batched):
    """``picture`` (n, 300, 300, 3) uint8 → ``rows`` (n, 100, 7) float32."""

    def load(self, setup: Setup) -> None:
        """See ``Batched``."""
        cv2.setNumThreads(setup.number("threads"))
        self._network = Ssd(models.path("ssd-mobilenet-v2"), models.path("ssd-mobilenet-v2-text"))

    def infer(self, tensors: Tensors) -> Tensors:
        """See ``Batched``."""
        return {"rows": self._network(tensors["picture"], NullContext())}
