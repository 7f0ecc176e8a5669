"""One cut-out to a textured mesh: TRELLIS, TRELLIS.2 and Stable Fast 3D, behind one call.

Xiang et al., "Structured 3D latents for scalable and versatile 3D generation" (TRELLIS, 2024; TRELLIS.2, 2025); Boss et
al., "SF3D: Stable fast 3D mesh reconstruction" (2024). None of the three is in the package index: the folder of their
code is a parameter. Their own frame has Z up, and what they export has glTF's, Y up.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import FailedPrecondition
from lensora.serving.model import Report

TEXTURE_SIZE = 1024
"""Texels along a baked texture's side."""


SOLID = 204
"""Alpha above which TRELLIS takes a pixel for the subject."""


class Sculptor(Protocol):
    """What ``mesh_*`` models call."""

    def sculpt(self, cutout: NDArray[np.uint8], *, seed: int, guidance: float | None, report: Report) -> bytes:
        """Make the mesh.

        Args:
            cutout: (h, w, 4) uint8, 8-bit sRGB with straight alpha.
            seed: of the noise; ignored by a model without any.
            guidance: of the first stage, the one that decides the shape; None for the model's own. A lower one is what
                TRELLIS' makers advise where a flat photo becomes a flat mesh. Ignored by a model without stages.
            report: called between steps.

        Returns:
            glTF 2.0 binary, Y up.
        """


class Trellis:
    """``microsoft/TRELLIS-image-large``: base colour only."""

    def __init__(self, folder: Path, device: str) -> None:
        os.environ.setdefault("SPCONV_ALGO", "native")  # else the first run of each shape is timed for seconds
        _choose(device)
        from trellis.pipelines import TrellisImageTo3DPipeline
        from trellis.utils import postprocessing_utils

        self._pipeline = TrellisImageTo3DPipeline.from_pretrained(str(folder))
        self._pipeline.to(device)
        self._to_glb = postprocessing_utils.to_glb

    def sculpt(self, cutout: NDArray[np.uint8], *, seed: int, guidance: float | None, report: Report) -> bytes:
        """See ``Sculptor``."""
        with _Stages(self._pipeline, ("sparse_structure", "slat"), report):
            outputs = self._pipeline.run(
                _picture(cutout),
                seed=seed,
                formats=["mesh", "gaussian"],
                preprocess_image=True,
                sparse_structure_sampler_params=_stage_one(guidance, "cfg_strength"),
            )
        report(0.75, "texture")
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the bake draws its views from the global generator
        mesh = self._to_glb(
            outputs["gaussian"][0], outputs["mesh"][0], simplify=0.95, texture_size=TEXTURE_SIZE, verbose=False
        )
        return _export(mesh)


class Trellis2:
    """``microsoft/TRELLIS.2-4B``: base colour, metalness, roughness and opacity."""

    def __init__(self, folder: Path, device: str, pipeline_type: str) -> None:
        _choose(device)
        from trellis2.pipelines import Trellis2ImageTo3DPipeline, rembg

        # cut-outs come with alpha, so the background remover, which is for non-commercial use, is never asked for one
        rembg.BiRefNet = _NoRemover
        from o_voxel.postprocess import to_glb

        with contextlib.chdir(folder):  # what it names by a hub id lies in a folder of that name
            self._pipeline = Trellis2ImageTo3DPipeline.from_pretrained(str(folder))
        self._pipeline.to(device)
        self._type = pipeline_type
        self._to_glb = to_glb

    def sculpt(self, cutout: NDArray[np.uint8], *, seed: int, guidance: float | None, report: Report) -> bytes:
        """See ``Sculptor``."""
        with _Stages(self._pipeline, ("sparse_structure", "shape_slat", "tex_slat"), report):
            mesh = self._pipeline.run(
                _picture(cutout),
                seed=seed,
                pipeline_type=self._type,
                sparse_structure_sampler_params=_stage_one(guidance, "guidance_strength"),
            )[0]
        report(0.75, "texture")
        mesh.simplify(16_777_216)  # the most that nvdiffrast rasterises
        return _export(
            self._to_glb(
                vertices=mesh.vertices,
                faces=mesh.faces,
                attr_volume=mesh.attrs,
                coords=mesh.coords,
                attr_layout=mesh.layout,
                voxel_size=mesh.voxel_size,
                aabb=[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]],
                decimation_target=100_000,
                texture_size=TEXTURE_SIZE,
                remesh=True,
            )
        )


class StableFast3d:
    """``stabilityai/stable-fast-3d``: base colour and normals, one value of metalness and roughness; one step."""

    def __init__(self, folder: Path, device: str, yaw_degrees: float) -> None:
        from sf3d.system import SF3D
        from sf3d.utils import resize_foreground

        with contextlib.chdir(folder):  # what it names by a hub id lies in a folder of that name
            self._model = SF3D.from_pretrained(str(folder), config_name="config.yaml", weight_name="model.safetensors")
        self._model.to(device)
        self._model.eval()
        self._resize = resize_foreground
        self._device, self._yaw = device.partition(":")[0], yaw_degrees

    def sculpt(
        self,
        cutout: NDArray[np.uint8],
        *,
        seed: int,  # noqa: ARG002 - nothing is drawn
        guidance: float | None,  # noqa: ARG002 - one stage
        report: Report,
    ) -> bytes:
        """See ``Sculptor``."""
        import torch

        # 0.85 is what the model was trained with
        picture = self._resize(_picture(cutout), 0.85)
        report(0.1, "shape")
        is_cuda = self._device == "cuda"
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=is_cuda):
            mesh, _ = self._model.run_image(picture, bake_resolution=TEXTURE_SIZE, remesh="none")
        report(0.9, "texture")
        if self._yaw:
            turn = np.eye(4)
            angle = math.radians(self._yaw)
            turn[0, 0] = turn[2, 2] = math.cos(angle)
            turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
            mesh.apply_transform(turn)
        return _export(mesh)


class _NoRemover:
    """Stands where TRELLIS.2 would load its background remover."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def to(self, _device: Any) -> None:
        """Nothing to move."""

    def cpu(self) -> None:
        """Nothing to move."""

    def cuda(self) -> None:
        """Nothing to move."""


class _Stages(contextlib.AbstractContextManager["_Stages"]):
    """While entered, ``report`` hears of every step of a pipeline's samplers, and may end the run between two."""

    def __init__(self, pipeline: Any, stages: tuple[str, ...], report: Report) -> None:
        self._samplers = [(stage, getattr(pipeline, f"{stage}_sampler")) for stage in stages]
        steps = [int(getattr(pipeline, f"{stage}_sampler_params").get("steps", 12)) for stage in stages]
        self._total, self._done, self._report = sum(steps), 0, report

    def __enter__(self) -> _Stages:
        for stage, sampler in self._samplers:
            sampler.sample_once = self._stepping(stage, sampler.sample_once)
        return self

    def __exit__(self, *_: object) -> None:
        for _stage, sampler in self._samplers:
            del sampler.sample_once  # the class's own shows again

    def _stepping(self, stage: str, sample_once: Any) -> Any:
        def step(*args: Any, **keywords: Any) -> Any:
            # a cascade samples a stage twice, so the count may pass the total
            self._report(0.05 + 0.65 * min(1.0, self._done / self._total), stage.replace("_", "-"))
            self._done += 1
            return sample_once(*args, **keywords)

        return step


def _choose(device: str) -> None:
    """Make ``device`` the one that ``.cuda()`` means, which the pipelines' own code calls here and there."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)


def _stage_one(guidance: float | None, name: str) -> dict[str, float]:
    return {} if guidance is None else {name: guidance}


def _picture(cutout: NDArray[np.uint8]) -> Any:
    """As Pillow's; with a transparent border, since a picture without any makes TRELLIS look for its subject anew.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``; nothing of it is solid.
    """
    from PIL import Image

    if not (cutout[..., 3] > SOLID).any():
        raise FailedPrecondition("nothing of this cut-out is solid; choose another object", reason="NO_SUBJECT")
    return Image.fromarray(np.pad(cutout, ((1, 1), (1, 1), (0, 0))))


def _export(mesh: Any) -> bytes:
    """The GLB of a ``trimesh.Trimesh``.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``; it has no faces.
    """
    if not len(mesh.faces):
        raise FailedPrecondition("the model found no shape in this cut-out; choose another object", reason="NO_SUBJECT")
    return bytes(mesh.export(file_type="glb"))
