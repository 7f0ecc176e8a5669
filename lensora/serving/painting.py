"""Pictures from words: SDXL-Turbo or FLUX.1-schnell through diffusers, with a depth map's guidance where it can be had.

Sauer et al., "Adversarial diffusion distillation" (2023); Zhang, Rao, Agrawala, "Adding conditional control to
text-to-image diffusion models" (ControlNet), ICCV 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensora.serving.model import Report

if TYPE_CHECKING:
    import torch

MULTIPLE = 16
"""Widths and heights are multiples of this: FLUX packs 2 × 2 cells of 8 pixels."""


class Painter:
    """A pipeline of whatever class the folder's ``model_index.json`` names."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype, control: Path | None) -> None:
        """Load the pipeline; ``control`` is the folder of a ControlNet for depth maps, if there is one."""
        from diffusers import AutoPipelineForText2Image, ControlNetModel

        more: dict[str, Any] = {}
        if control is not None:
            more["controlnet"] = ControlNetModel.from_pretrained(control, torch_dtype=dtype, **_variant(control))
        pipeline = AutoPipelineForText2Image.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, **_variant(folder), **more
        )
        self._pipeline = pipeline.to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self.is_guided = control is not None
        """Whether a depth map has a say."""

    def paint(
        self,
        prompt: str,
        size: tuple[int, int],
        *,
        seed: int,
        steps: int,
        depth: NDArray[np.uint8] | None,
        strength: float,
        report: Report,
    ) -> NDArray[np.uint8]:
        """One picture; the same arguments give the same one on the same device.

        Args:
            prompt: what to paint.
            size: width and height, multiples of ``MULTIPLE``.
            seed: of the noise.
            steps: of denoising; 4 for the distilled models named above.
            depth: (height, width) uint8 inverse depth, 255 nearest; required if ``is_guided``, else ignored.
            strength: of the depth map's say, 0 to 1.
            report: called after every step.

        Returns:
            (height, width, 3) uint8, 8-bit sRGB.
        """
        import torch
        from PIL import Image

        def stepped(_pipeline: Any, step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
            report(0.05 + 0.85 * (step + 1) / steps, "generating-bg")
            return values

        width, height = size
        more: dict[str, Any] = {}
        if self.is_guided:
            if depth is None:
                raise ValueError("a pipeline with a ControlNet needs a depth map")
            more["image"] = Image.fromarray(np.repeat(depth[..., None], 3, axis=2))
            more["controlnet_conditioning_scale"] = strength
        with torch.inference_mode():
            made = self._pipeline(
                prompt=prompt,
                width=width,
                height=height,
                num_inference_steps=steps,
                guidance_scale=0.0,  # distilled models have it built in
                generator=torch.Generator("cpu").manual_seed(seed),  # the CPU's noise is the same on every machine
                callback_on_step_end=stepped,
                output_type="np",
                **more,
            )
        return np.asarray(np.round(np.clip(made.images[0], 0, 1) * 255), np.uint8)


def _variant(folder: Path) -> dict[str, str]:
    """The half-size files, where the folder has them."""
    return {"variant": "fp16"} if any(folder.rglob("*.fp16.safetensors")) else {}
