"""TRELLIS.2: a mesh with base colour, metalness and roughness."""

from __future__ import annotations

from lensora.serving.meshing import Meshing
from lensora.serving.sculpting import Trellis2
from lensora.serving.setup import Setup
from lensora.serving.weights import load


class TritonPythonModel(Meshing):
    """See ``Meshing``."""

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        self.sculptor = load(setup, Trellis2, device=setup.device, pipeline_type=setup.text("pipeline_type"))
