"""Stable Fast 3D: the light choice, half a second and 6 GiB."""

from __future__ import annotations

from lensora.serving.meshing import Meshing
from lensora.serving.sculpting import StableFast3d
from lensora.serving.setup import Setup
from lensora.serving.weights import load


class TritonPythonModel(Meshing):
    """See ``Meshing``."""

    def load(self, setup: Setup) -> None:
        """See ``Decoupled``."""
        self.sculptor = load(setup, StableFast3d, device=setup.device, yaw_degrees=float(setup.number("yaw_degrees")))
