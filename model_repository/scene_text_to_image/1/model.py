"""SDXL-Turbo or FLUX.1-schnell: an empty scene from words, with the ground where the depth map has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lensora.serving.model import Decoupled, Report, Tensors
from lensora.serving.painting import MULTIPLE, Painter
from lensora.serving.requests import picture, real, text, whole
from lensora.serving.setup import Setup
from lensora.serving.weights import load, locate, precision


class TritonPythonModel(Decoupled):
    """``prompt`` [1] and ``depth`` (h, w) uint8, inverse, 255 nearest → ``picture`` (h, w, 3) uint8 sRGB, ``guided``.

    h and w are multiples of ``MULTIPLE``. ``guided`` says whether the depth map had a say: it does where the parameter
    ``control`` of the config names a ControlNet for it, and has none where that is ``none``. Parameters of a request:
    ``seed``, and ``strength`` of the depth map's say, 0 to 1, default 0.6.
    """

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        self._steps = setup.number("steps")
        control = None if setup.text("control") == "none" else locate(setup, "control")
        self._painter: Painter = load(setup, Painter, device=setup.device, dtype=precision(setup), control=control)

    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:
        """See ``Decoupled``."""
        depth = picture(tensors, "depth", None, multiple=MULTIPLE)
        painted = self._painter.paint(
            text(tensors, "prompt", 1_000),
            (depth.shape[1], depth.shape[0]),
            seed=whole(parameters, "seed", 0, 0, 2**63 - 1),
            steps=self._steps,
            depth=depth,
            strength=real(parameters, "strength", 0.6, 0.0, 1.0),
            report=report,
        )
        return {"picture": painted, "guided": np.array([self._painter.is_guided])}
