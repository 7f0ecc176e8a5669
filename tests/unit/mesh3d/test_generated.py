"""Engines over a network that generates meshes: slabs, seeds and the choice among attempts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from lensora.core.engines import NullContext
from lensora.core.errors import FailedPrecondition
from services.mesh3d.engine import ReconstructRequest
from services.mesh3d.engines._generated import SIDE, STRIDE, Generated
from services.mesh3d.engines.trellis import GUIDANCES
from tests.unit.mesh3d.test_imported import glb


class Sculptor:
    """Gives boxes of these depths in turn."""

    def __init__(self, *depths: float) -> None:
        self.depths, self.asked, self.shapes = list(depths), list[dict[str, Any]](), list[tuple[int, ...]]()

    def stream(self, inputs: Any, parameters: Any, context: Any, share_of: Any) -> dict[str, NDArray[np.uint8]]:
        context.progress(share_of.first)
        self.asked.append(dict(parameters))
        self.shapes.append(inputs["cutout"].shape)
        return {"glb": np.frombuffer(glb(cushion(self.depths[len(self.asked) - 1])), np.uint8)}


def cushion(depth: float) -> trimesh.Trimesh:
    """A cut-off ball: an extrusion where it is flat, a thing where it is deep."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    mesh.vertices = np.clip(mesh.vertices, -0.8, 0.8) * (0.6, 1.0, depth)
    surface = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (8, 8), (200, 0, 0)))
    visual = trimesh.visual.TextureVisuals(uv=mesh.vertices[:, :2] / 2 + 0.5, material=surface)
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False, visual=visual)


BLOCK = np.zeros((160, 120, 4), np.uint8)
BLOCK[20:140, 30:90] = (200, 100, 50, 255)
REQUEST = ReconstructRequest(BLOCK, seed=5)


def run(sculptor: Sculptor) -> Any:
    return Generated("trellis", sculptor, GUIDANCES).run(REQUEST, NullContext())


def test_a_thing_is_taken_at_once() -> None:
    sculptor = Sculptor(0.7)
    made = run(sculptor)
    assert (made.method, made.verdict) == ("trellis", "volume")
    assert sculptor.asked == [{"seed": 5}]


def test_a_slab_is_tried_again_with_less_guidance_and_another_seed() -> None:
    sculptor = Sculptor(0.1, 0.7)
    made = run(sculptor)
    assert (made.method, made.verdict) == ("trellis-2", "volume")
    assert sculptor.asked == [{"seed": 5}, {"seed": 5 + STRIDE, "guidance": GUIDANCES[1]}]


def test_the_deepest_of_nothing_but_slabs() -> None:
    made = run(sculptor := Sculptor(0.1, 0.2, 0.15))
    assert (made.method, made.verdict) == ("trellis-2", "slab")
    assert made.thin_axis_ratio == pytest.approx(0.2, abs=0.01)
    assert len(sculptor.asked) == len(GUIDANCES)


def test_frame_is_the_contracts() -> None:
    made = run(Sculptor(0.7))
    mesh = trimesh.load_scene(trimesh.util.wrap_as_stream(made.glb), file_type="glb", process=False).to_mesh()
    low, high = mesh.bounds
    assert (high - low).max() == pytest.approx(1.0) and low[1] == pytest.approx(0.0)
    assert (low + high)[[0, 2]] == pytest.approx((0.0, 0.0), abs=1e-6)


def test_file_passes_the_khronos_validator(tmp_path: Path) -> None:
    file = tmp_path / "mesh.glb"
    file.write_bytes(run(Sculptor(0.7)).glb)
    tool = Path(__file__).parents[2] / "tools" / "validate.js"
    said = subprocess.run(["node", str(tool), str(file)], capture_output=True, text=True, check=True, timeout=60)
    issues = json.loads(said.stdout)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_large_cutouts_are_made_smaller() -> None:
    large = np.zeros((3000, 1500, 4), np.uint8)
    large[300:2700, 300:1200] = (200, 100, 50, 255)
    sculptor = Sculptor(0.7)
    Generated("trellis", sculptor, (None,)).run(ReconstructRequest(large), NullContext())
    assert sculptor.shapes == [(SIDE, SIDE // 2, 4)]


def test_an_empty_cutout_is_not_sent() -> None:
    sculptor = Sculptor(0.7)
    with pytest.raises(FailedPrecondition):
        Generated("trellis", sculptor, (None,)).run(ReconstructRequest(np.zeros((64, 64, 4), np.uint8)), NullContext())
    assert not sculptor.asked
