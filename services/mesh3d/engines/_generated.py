"""Meshes that a network in Triton generates; what the three engines of that kind share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.runtime.hosted import Hosted, Share, Streaming, connect
from services.mesh3d.core.gltf import write_glb
from services.mesh3d.core.imported import read_glb
from services.mesh3d.core.silhouette import find_silhouette
from services.mesh3d.core.texture import tangents
from services.mesh3d.core.verdict import judge
from services.mesh3d.engine import ReconstructRequest, ReconstructResult
from services.mesh3d.engines import embedded
from services.mesh3d.settings import Settings

SIDE = 1024
"""The networks see 518 to 1024 pixels a side: more need not travel."""

STRIDE = 7919
"""Between the seeds of two attempts: far apart, and the same every time."""


class Generated:
    """Ask, judge, and ask again where the answer is a slab."""

    version = "1"

    def __init__(self, name: str, network: Streaming, guidances: tuple[float | None, ...]) -> None:
        """``guidances`` of the first stage, one an attempt; None is the network's own."""
        self.name, self._network, self._guidances = name, network, guidances

    def run(self, request: ReconstructRequest, context: Context) -> ReconstructResult:
        """See ``Mesh3dEngine``; ``method`` is the engine's name, and the number of the attempt from the second on."""
        context.progress(0.0, "silhouette")
        find_silhouette(request.cutout)
        cutout, best = _smaller(request.cutout), None
        for attempt, guidance in enumerate(self._guidances):
            part = 0.95 / len(self._guidances)
            share_of = Share("shape", attempt * part, (attempt + 1) * part)
            parameters: dict[str, Any] = {"seed": (request.seed + attempt * STRIDE) % 2**63}
            if guidance is not None:
                parameters["guidance"] = guidance
            said = self._network.stream({"cutout": cutout}, parameters, context, share_of)
            method = self.name if attempt == 0 else f"{self.name}-{attempt + 1}"
            made = _result(np.asarray(said["glb"], np.uint8).tobytes(), method, context)
            if best is None or _rank(made) > _rank(best):
                best = made
            if made.verdict != "slab":
                break
        assert best is not None  # noqa: S101 - there is at least one attempt
        context.progress(1.0, "measure")
        return best


def _rank(result: ReconstructResult) -> tuple[bool, float]:
    return result.verdict != "slab", result.thin_axis_ratio


def _result(data: bytes, method: str, context: Context) -> ReconstructResult:
    """The network's mesh in the contract's frame, and its measures."""
    found = read_glb(data)
    context.check()
    positions = embedded.to_metres(found.mesh)
    measures = judge(positions, found.mesh.faces, measured=False)
    context.check()
    glb = write_glb(
        positions, found.mesh.normals, tangents(found.mesh, found.uvs), found.uvs, found.mesh.faces, found.material
    )
    return ReconstructResult(
        glb=glb,
        thin_axis_ratio=measures.thin_axis_ratio,
        verdict=measures.verdict,
        watertight=measures.watertight,
        triangles=len(found.mesh.faces),
        method=method,
    )


def _smaller(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The cut-out at ``SIDE`` or less; colours behind alpha 0 continue the subject's, so nothing bleeds in."""
    scale = SIDE / max(cutout.shape[:2])
    if scale >= 1:
        return cutout
    size = (max(1, round(cutout.shape[1] * scale)), max(1, round(cutout.shape[0] * scale)))
    return np.asarray(cv2.resize(cutout, size, interpolation=cv2.INTER_AREA), np.uint8)


def hosted(name: str, guidances: tuple[float | None, ...], settings: Settings) -> Hosted:
    """The engine ``name``, whose model is ``mesh_<name>``; Triton need not be there yet."""
    network = connect(settings)(f"mesh_{name}", "", "")
    spare = embedded.create(settings) if settings.triton_fallback else None
    return Hosted(Generated(name, network, guidances), (network,), spare, name)
