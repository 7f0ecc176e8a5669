# ruff: noqa: ARG002 - signatures as they are there
"""``SF3D``; see ``sf3d``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_model
from trellis.utils.postprocessing_utils import textured


class SF3D(torch.nn.Module):
    """Deep as the one weight says."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = torch.nn.Parameter(torch.zeros(1))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, config_name: str, weight_name: str) -> SF3D:
        folder = Path(pretrained_model_name_or_path)
        assert (folder / config_name).is_file()
        model = cls()
        load_model(model, str(folder / weight_name))
        return model

    def run_image(
        self,
        image: Image.Image,
        bake_resolution: int,
        remesh: Literal["none", "triangle", "quad"] = "none",
        vertex_count: int = -1,
        estimate_illumination: bool = False,  # noqa: FBT001
    ) -> tuple[trimesh.Trimesh, dict[str, Any]]:
        made = textured(
            (0.5, float(self.depth), 1.0),
            baseColorTexture=Image.new("RGB", (64, 64), (90, 140, 60)),
            normalTexture=Image.new("RGB", (64, 64), (128, 128, 255)),
            roughnessFactor=0.4,
            metallicFactor=0.9,
        )
        made.apply_transform(trimesh.transformations.rotation_matrix(np.radians(-90), [1, 0, 0]))  # to Y up
        return made, {}
