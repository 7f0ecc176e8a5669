"""A heavy model without the weight: so many steps, each of which it tells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lensora.core.errors import Cancelled, FailedPrecondition
from lensora.serving.model import Decoupled, Report, Tensors
from lensora.serving.setup import Setup


class TritonPythonModel(Decoupled):
    """``x`` (m,) float32 → ``y`` the same, doubled."""

    def load(self, setup: Setup) -> None:
        """Nothing to load."""

    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:
        """Take ``steps`` steps of ``seconds``; says in the file ``ended`` how it ended."""
        steps = parameters["steps"]
        try:
            for step in range(steps):
                report(step / steps, f"step {step}")
                time.sleep(parameters.get("seconds", 0))
                if step == parameters.get("refuse_at"):
                    raise FailedPrecondition("nothing stands out", reason="NO_SUBJECT")
        except Cancelled:
            Path(parameters["ended"]).write_text(f"cancelled at {step}")
            raise
        return {"y": 2 * tensors["x"]}
