"""TRELLIS: a textured mesh, base colour only."""

from __future__ import annotations

from lensora.serving.meshing import Meshing
from lensora.serving.sculpting import Trellis
from lensora.serving.setup import Setup
from lensora.serving.weights import load


class TritonPythonModel(Meshing):
    """See ``Meshing``."""

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        self.sculptor = load(setup, Trellis, device=setup.device)
