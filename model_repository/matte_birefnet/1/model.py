"""BiRefNet: how much of each pixel is subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lensora.serving.matting import BiRefNet
from lensora.serving.model import Decoupled, Report, Tensors
from lensora.serving.requests import picture
from lensora.serving.setup import Setup
from lensora.serving.weights import load, precision


class TritonPythonModel(Decoupled):
    """``photo`` (h, w, 3) uint8 sRGB → ``alpha`` (h, w) uint8, 255 where all of it is subject."""

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        side = setup.number("side")
        self._network: BiRefNet = load(setup, BiRefNet, device=setup.device, dtype=precision(setup), side=side)

    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:  # noqa: ARG002
        """See ``Decoupled``."""
        return {"alpha": self._network.alpha(picture(tensors, "photo", 3), report)}
