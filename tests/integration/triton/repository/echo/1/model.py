"""Says what it hears, and misbehaves on demand."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from lensora.core.errors import InvalidArgument
from lensora.serving.model import Batched, Tensors
from lensora.serving.setup import Setup

SLEEP, KILL, REFUSE, BUG = -1.0, -2.0, -3.0, -4.0
"""What a number may ask for."""


class TritonPythonModel(Batched):
    """``x`` (n, m) float32 → ``y`` the same, ``together`` (n, 1) how many rows came at once."""

    def load(self, setup: Setup) -> None:
        """Nothing to load."""

    def infer(self, tensors: Tensors) -> Tensors:
        """Echo, after what its numbers ask for."""
        x = tensors["x"]
        for wish in x.ravel():
            if wish == SLEEP:
                time.sleep(0.05)
            if wish == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            if wish == REFUSE:
                raise InvalidArgument.of("x", "not this one", reason="REFUSED")
            if wish == BUG:
                raise RuntimeError("a secret that only the log may know")
        return {"y": x, "together": np.full((len(x), 1), len(x), np.int32)}
