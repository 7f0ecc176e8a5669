"""Volume from one outline by rules alone: a box where the outline has a box's straight sides and corners, a lathe where
it is a turned one, inflation otherwise.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from services.mesh3d.core.boxes import build_box
from services.mesh3d.core.cuboid import Cuboid, fit_cuboid
from services.mesh3d.core.cushion import fit_cushion
from services.mesh3d.core.gltf import write_glb
from services.mesh3d.core.lathe import fit_lathe
from services.mesh3d.core.silhouette import Silhouette, find_silhouette
from services.mesh3d.core.solid import Solid
from services.mesh3d.core.surface import Mesh, polygonise
from services.mesh3d.core.texture import make_chart, make_material, tangents, texture_coordinates
from services.mesh3d.core.verdict import judge
from services.mesh3d.engine import ReconstructRequest, ReconstructResult
from services.mesh3d.settings import Settings


class EmbeddedEngine:
    """CPU only, no weights, deterministic; the seed has nothing to decide."""

    name = "embedded"
    version = "2"

    def run(self, request: ReconstructRequest, context: Context) -> ReconstructResult:
        """Make the solid; see ``Mesh3dEngine`` for what is raised."""
        context.progress(0.0, "silhouette")
        silhouette = find_silhouette(request.cutout)
        context.progress(0.05, "shape")
        cuboid = fit_cuboid(silhouette)
        if cuboid is not None:
            model = _model_box(request, silhouette, cuboid, context)
        else:
            model = _model_solid(request, silhouette, fit_lathe(silhouette) or fit_cushion(silhouette), context)
        material = make_material(model.chart)
        context.progress(0.9, "measure")
        mesh, uvs = model.mesh, model.uvs
        positions = to_metres(mesh)
        measures = judge(positions, mesh.faces, measured=cuboid is not None and cuboid.measured)
        glb = write_glb(positions, mesh.normals, tangents(mesh, uvs), uvs, mesh.faces, material)
        context.progress(1.0, "measure")
        return ReconstructResult(
            glb=glb,
            thin_axis_ratio=measures.thin_axis_ratio,
            verdict=measures.verdict,
            watertight=measures.watertight,
            triangles=len(mesh.faces),
            method=model.method,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A mesh, working pixels, with (n, 2) texture coordinates in a chart, (h, w, 3) 8-bit sRGB."""

    mesh: Mesh
    uvs: NDArray[np.float64]
    chart: NDArray[np.uint8]
    method: str


def _model_box(request: ReconstructRequest, silhouette: Silhouette, cuboid: Cuboid, context: Context) -> _Model:
    context.progress(0.3, "texture")
    photo, place = make_chart(request.cutout, silhouette)
    context.check()
    mesh, uvs, atlas = build_box(cuboid, photo, place)
    return _Model(mesh, uvs, atlas, cuboid.method)


def _model_solid(request: ReconstructRequest, silhouette: Silhouette, solid: Solid, context: Context) -> _Model:
    context.progress(0.3, "surface")
    mesh = polygonise(solid, context.check)
    context.progress(0.7, "texture")
    chart, place = make_chart(request.cutout, silhouette)
    return _Model(mesh, texture_coordinates(mesh, solid, place), chart, solid.method)


def to_metres(mesh: Mesh) -> NDArray[np.float32]:
    """(n, 3) float32 positions in the contract's frame: longest side 1 m, foot at y = 0, footprint centred."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return np.asarray((mesh.vertices - origin) / float((high - low).max()), dtype=np.float32)


def create(settings: Settings) -> EmbeddedEngine:  # noqa: ARG001 - every engine is created alike
    """The engine; loads the libraries that would otherwise be imported while a caller waits."""
    importlib.import_module("trimesh")
    return EmbeddedEngine()
