"""What the three ``mesh_*`` models share: a cut-out in, a GLB out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lensora.serving.model import Decoupled, Report, Tensors
from lensora.serving.requests import picture, real, whole
from lensora.serving.sculpting import Sculptor


class Meshing(Decoupled):
    """``cutout`` (h, w, 4) uint8 sRGB with straight alpha → ``glb`` (n,) uint8, glTF 2.0 binary, Y up, front +Z.

    Parameters of a request: ``seed``; ``guidance`` of the first stage, 0 to 20, absent for the model's own.
    """

    sculptor: Sculptor

    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:
        """See ``Decoupled``."""
        made = self.sculptor.sculpt(
            picture(tensors, "cutout", 4),
            seed=whole(parameters, "seed", 0, 0, 2**63 - 1),
            guidance=real(parameters, "guidance", 0.0, 0.0, 20.0) if "guidance" in parameters else None,
            report=report,
        )
        return {"glb": np.frombuffer(made, np.uint8)}
