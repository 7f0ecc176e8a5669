# ruff: noqa: ARG002 - signatures as they are there
"""``Trellis2ImageTo3DPipeline``; see ``trellis``."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image
from trellis.pipelines import FlowEulerSampler

from trellis2.pipelines import rembg


class Guided(FlowEulerSampler):
    """Names its guidance as TRELLIS.2 does."""

    def sample(self, model: Any, noise: float, cond: Any, steps: int = 50, **kwargs: Any) -> SimpleNamespace:
        return super().sample(model, noise, cond, steps, cfg_strength=kwargs["guidance_strength"])


class Mesh(SimpleNamespace):
    """``MeshWithVoxel`` there."""

    def simplify(self, target: int) -> None:
        assert target == 16_777_216


class Trellis2ImageTo3DPipeline:
    """See ``trellis.pipelines.TrellisImageTo3DPipeline``."""

    @classmethod
    def from_pretrained(cls, path: str, config_file: str = "pipeline.json") -> Trellis2ImageTo3DPipeline:
        made = cls()
        settings = json.loads((Path(path) / config_file).read_text())["args"]
        for stage in ("sparse_structure", "shape_slat", "tex_slat"):
            setattr(made, f"{stage}_sampler", Guided())
            setattr(made, f"{stage}_sampler_params", settings[f"{stage}_sampler"]["params"])
        # by its hub id: a folder of that name, beside the weights
        assert (Path(settings["image_cond_model"]["args"]["model_name"]) / "config.json").is_file()
        made.rembg_model = getattr(rembg, settings["rembg_model"]["name"])(**settings["rembg_model"]["args"])
        return made

    def to(self, device: str) -> None:
        self.rembg_model.to(device)

    def run(
        self,
        image: Image.Image,
        num_samples: int = 1,
        seed: int = 42,
        sparse_structure_sampler_params: dict[str, Any] = {},  # noqa: B006 - as it is there
        shape_slat_sampler_params: dict[str, Any] = {},  # noqa: B006
        tex_slat_sampler_params: dict[str, Any] = {},  # noqa: B006
        preprocess_image: bool = True,  # noqa: FBT001
        return_latent: bool = False,  # noqa: FBT001
        pipeline_type: str | None = None,
        max_num_tokens: int = 49152,
    ) -> list[Mesh]:
        assert pipeline_type in ("512", "1024", "1024_cascade", "1536_cascade") and preprocess_image
        given = (sparse_structure_sampler_params, shape_slat_sampler_params, tex_slat_sampler_params)
        coarse, *_ = (
            getattr(self, f"{stage}_sampler").sample(
                None, 0.0, None, **{**getattr(self, f"{stage}_sampler_params"), **more}
            )
            for stage, more in zip(("sparse_structure", "shape_slat", "tex_slat"), given, strict=True)
        )
        depth = 0.1 if coarse.samples > 7 else 0.7
        empty: dict[str, Any] = dict.fromkeys(("faces", "attrs", "coords", "layout", "voxel_size"))
        return [Mesh(vertices=np.array([0.5, depth, 1.0]), seed=seed, **empty)] * num_samples
