# ruff: noqa: ARG002 - signatures as they are there
"""``TrellisImageTo3DPipeline`` and its samplers; see ``trellis``."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image


class FlowEulerSampler:
    """Steps from noise to a sample, through ``sample_once`` each time."""

    def sample_once(self, model: Any, x_t: float, t: float, t_prev: float, cond: Any, **kwargs: Any) -> SimpleNamespace:
        if "STANDIN_STEPS" in os.environ:
            with Path(os.environ["STANDIN_STEPS"]).open("a") as steps:
                steps.write("step\n")
        time.sleep(kwargs.get("seconds", 0.0))
        return SimpleNamespace(pred_x_prev=x_t + (t - t_prev) * kwargs["cfg_strength"])

    def sample(self, model: Any, noise: float, cond: Any, steps: int = 50, **kwargs: Any) -> SimpleNamespace:
        sample, times = noise, np.linspace(1, 0, steps + 1)
        for t, t_prev in itertools.pairwise(times):
            sample = self.sample_once(model, sample, t, t_prev, cond, **kwargs).pred_x_prev
        return SimpleNamespace(samples=sample)


class TrellisImageTo3DPipeline:
    """The deeper the guidance of the first stage, the flatter the mesh: 7.5 gives a slab."""

    @staticmethod
    def from_pretrained(path: str) -> TrellisImageTo3DPipeline:
        made = TrellisImageTo3DPipeline()
        settings = json.loads((Path(path) / "pipeline.json").read_text())["args"]
        made.sparse_structure_sampler, made.slat_sampler = FlowEulerSampler(), FlowEulerSampler()
        made.sparse_structure_sampler_params = settings["sparse_structure_sampler"]["params"]
        made.slat_sampler_params = settings["slat_sampler"]["params"]
        return made

    def to(self, device: str) -> None:
        self.device = device

    def run(
        self,
        image: Image.Image,
        num_samples: int = 1,
        seed: int = 42,
        sparse_structure_sampler_params: dict[str, Any] = {},  # noqa: B006 - as it is there
        slat_sampler_params: dict[str, Any] = {},  # noqa: B006
        formats: list[str] = ["mesh", "gaussian", "radiance_field"],  # noqa: B006
        preprocess_image: bool = True,  # noqa: FBT001
    ) -> dict[str, Any]:
        alpha = np.asarray(image)[..., 3]
        assert image.mode == "RGBA" and not (alpha == 255).all() and preprocess_image
        rows, columns = (np.flatnonzero((alpha > 204).any(axis=axis)) for axis in (1, 0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        coarse = self.sparse_structure_sampler.sample(
            None, 0.0, None, **{**self.sparse_structure_sampler_params, **sparse_structure_sampler_params}
        ).samples
        self.slat_sampler.sample(None, 0.0, None, **{**self.slat_sampler_params, **slat_sampler_params})
        depth = 0.1 if coarse > 7 else 0.7
        colour = np.asarray(image)[..., :3][alpha > 204].mean(axis=0)
        mesh = SimpleNamespace(extents=(width / height, depth, 1.0), seed=seed)  # Z up, as TRELLIS has it
        return {"mesh": [mesh] * num_samples, "gaussian": [SimpleNamespace(colour=colour)] * num_samples}
