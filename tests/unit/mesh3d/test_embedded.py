"""The engine's promises, on the file it returns."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from lensora.core.errors import Cancelled, FailedPrecondition, InvalidArgument
from services.mesh3d.core.solid import View
from services.mesh3d.engine import ReconstructRequest
from services.mesh3d.engines.embedded import create
from services.mesh3d.settings import Settings
from tests.unit.mesh3d.conftest import (
    Cutout,
    animal,
    ball,
    bottle,
    cylinder,
    draw_mask,
    draw_turned,
    lathe_of,
    reconstruct,
    vase,
)


@dataclass(frozen=True)
class Loaded:
    """A GLB read back by hand, so that a slip of the writer is not undone by a forgiving reader."""

    document: dict[str, Any]
    binary: bytes

    def accessor(self, index: int) -> NDArray[Any]:
        entry = self.document["accessors"][index]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[entry["type"]]
        view = self.document["bufferViews"][entry["bufferView"]]
        kind = {5126: np.float32, 5125: np.uint32}[entry["componentType"]]
        return np.frombuffer(self.binary, kind, entry["count"] * width, view["byteOffset"]).reshape(-1, width)

    def attribute(self, name: str) -> NDArray[np.float64]:
        return self.accessor(self.primitive["attributes"][name]).astype(np.float64)

    @property
    def primitive(self) -> dict[str, Any]:
        (mesh,) = self.document["meshes"]
        (primitive,) = mesh["primitives"]
        return dict(primitive)

    @property
    def faces(self) -> NDArray[np.int64]:
        return self.accessor(self.primitive["indices"]).reshape(-1, 3).astype(np.int64)

    def picture(self, index: int) -> NDArray[np.uint8]:
        view = self.document["bufferViews"][self.document["images"][index]["bufferView"]]
        data = np.frombuffer(self.binary, np.uint8, view["byteLength"], view["byteOffset"])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]


def load(glb: bytes) -> Loaded:
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    text_length, text_kind = struct.unpack_from("<I4s", glb, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", glb, 20 + text_length)
    assert (text_kind, binary_kind) == (b"JSON", b"BIN\0")
    assert 28 + text_length + binary_length == len(glb)
    return Loaded(json.loads(glb[20 : 20 + text_length]), glb[28 + text_length :])


def assert_promised(glb: bytes) -> Loaded:
    """What the contract says of every GLB."""
    loaded = load(glb)
    positions, faces = loaded.attribute("POSITION"), loaded.faces
    low, high = positions.min(axis=0), positions.max(axis=0)
    assert (high - low).max() == pytest.approx(1.0, abs=1e-5)
    assert low[1] == 0.0
    np.testing.assert_allclose((low + high)[[0, 2]], 0.0, atol=1e-5)
    corners = positions[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas.min() > 0
    welded = trimesh.Trimesh(positions, faces, process=False)
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    assert welded.is_watertight
    assert welded.is_winding_consistent
    assert welded.volume > 0
    entry = loaded.document["accessors"][loaded.primitive["attributes"]["POSITION"]]
    np.testing.assert_array_equal(entry["min"], positions.min(axis=0))
    np.testing.assert_array_equal(entry["max"], positions.max(axis=0))
    normals, tangents, uvs = (loaded.attribute(name) for name in ("NORMAL", "TANGENT", "TEXCOORD_0"))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose((normals * tangents[:, :3]).sum(axis=1), 0, atol=1e-5)
    assert set(np.unique(tangents[:, 3])) <= {-1.0, 1.0}
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    return loaded


def render_front(loaded: Loaded, elevation: float, side: int = 200) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Unlit orthographic picture from the front, ``elevation`` radians from above: colour (h, w, 3), coverage.

    The subject's bounding box on the screen fills the picture's longer side.
    """
    screen = loaded.attribute("POSITION") @ View(elevation, np.eye(2, 3)).axes.T
    screen[:, 1] *= -1
    low, high = screen[:, :2].min(axis=0), screen[:, :2].max(axis=0)
    scale = side / float((high - low).max())
    pixels = np.column_stack([(screen[:, :2] - low) * scale, screen[:, 2]])
    width, height = np.ceil((high - low) * scale).astype(int)
    depth, found = np.full((height, width), -np.inf), np.zeros((height, width, 2))
    uvs = loaded.attribute("TEXCOORD_0")
    for face in loaded.faces:
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = pixels[face]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0:  # y runs down the picture: what faces us winds clockwise in it
            continue
        columns = np.arange(max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, width))
        rows = np.arange(max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, height))
        x, y = np.meshgrid(columns + 0.5, rows + 0.5)
        second = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
        third = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
        z = z0 + second * (z1 - z0) + third * (z2 - z0)
        window = np.ix_(rows, columns)
        nearer = (second >= 0) & (third >= 0) & (second + third <= 1) & (z > depth[window])
        uv = (
            uvs[face[0]]
            + second[..., None] * (uvs[face[1]] - uvs[face[0]])
            + third[..., None] * (uvs[face[2]] - uvs[face[0]])
        )
        depth[window] = np.where(nearer, z, depth[window])
        found[window] = np.where(nearer[..., None], uv, found[window])
    chart = loaded.picture(0)
    at = (found * chart.shape[1::-1] - 0.5).astype(np.float32)
    colour = cv2.remap(chart, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(colour, dtype=np.float64), np.isfinite(depth)


def compare_with_photo(cutout: Cutout, loaded: Loaded, elevation: float, side: int = 200) -> tuple[float, float]:
    """PSNR in decibels inside the photo's eroded matte, and the outlines' intersection over union."""
    colour, covered = render_front(loaded, elevation, side)
    left, top, width, height = cv2.boundingRect((cutout[..., 3] >= 128).astype(np.uint8))
    photo = cutout[top : top + height, left : left + width]
    # the solid's foot is cut: only the top edges are sure to agree
    scale = covered.shape[1] / width
    photo = np.asarray(cv2.resize(photo, (covered.shape[1], round(height * scale)), interpolation=cv2.INTER_AREA))
    rows = min(len(photo), len(covered))
    matte = photo[..., 3] >= 128
    inner = cv2.erode(matte.astype(np.uint8), np.ones((17, 17), np.uint8), borderValue=0)[:rows] > 0
    error = (photo[:rows, :, :3] - colour[:rows])[inner & covered[:rows]]
    assert (covered[:rows] | ~inner).mean() > 0.99
    union = (matte[:rows] | covered[:rows]).sum()
    return float(10 * np.log10(255**2 / np.mean(error**2))), float((matte[:rows] & covered[:rows]).sum() / union)


@pytest.mark.parametrize("subject", ["vase", "vase from above", "bottle", "ball", "animal"])
def test_the_front_is_the_photo(subject: str) -> None:
    cutout = {
        "vase": lambda: draw_turned(vase, 1.2, 0.0),
        "vase from above": lambda: draw_turned(vase, 1.2, 12.0),
        "bottle": lambda: draw_turned(bottle, 1.0, 0.0),
        "ball": lambda: draw_turned(ball, 1.0, 0.0),
        "animal": lambda: draw_mask(animal()),
    }[subject]()
    elevation = 0.0 if subject == "animal" else lathe_of(cutout).view.elevation
    decibels, overlap = compare_with_photo(cutout, assert_promised(reconstruct(cutout).glb), elevation)
    assert decibels >= 30
    assert overlap >= 0.96


def test_a_mug_stands_on_a_flat_foot(mug: Cutout) -> None:
    result = reconstruct(mug)
    assert (result.method, result.verdict, result.watertight) == ("lathe", "volume", True)
    loaded = assert_promised(result.glb)
    positions = loaded.attribute("POSITION")
    foot = positions[positions[:, 1] == 0]
    depth = np.ptp(positions[:, 2])
    assert np.ptp(foot[:, 2]) > 0.9 * depth
    assert np.ptp(foot[:, 0]) > 0.9 * depth


def test_the_sides_of_a_turned_body_are_not_smeared() -> None:
    loaded = assert_promised(reconstruct(draw_turned(cylinder, 1.2, 0.0)).glb)
    positions, uvs, faces = loaded.attribute("POSITION"), loaded.attribute("TEXCOORD_0"), loaded.faces
    chart = loaded.picture(0)
    corners, texels = positions[faces], uvs[faces] * chart.shape[1::-1]

    def doubled_area(points: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
        if points.shape[2] == 2:
            return np.asarray(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]))
        return np.asarray(np.linalg.norm(np.cross(first, second), axis=1))

    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    wall, front = np.abs(normals[:, 1]) < 0.3, normals[:, 2] > 0.98
    texels_per_area = doubled_area(texels) / doubled_area(corners)
    facing = np.median(texels_per_area[front])
    area = doubled_area(corners)[wall]
    smeared = texels_per_area[wall] < facing / 5
    # straight projection smears 13% of a cylinder's wall this much
    assert area[smeared].sum() < 0.04 * area.sum()


def test_an_animal_gets_depth_a_flatter_back_and_feet() -> None:
    result = reconstruct(draw_mask(animal()))
    assert result.method == "inflation"
    assert result.verdict != "slab"
    positions = assert_promised(result.glb).attribute("POSITION")
    middle = positions[np.abs(positions[:, 0]) > 0.49][:, 2].mean()
    front, back = positions[:, 2].max() - middle, middle - positions[:, 2].min()
    assert back < 0.9 * front
    foot = positions[positions[:, 1] == 0]
    # four legs on the ground
    assert np.count_nonzero(np.diff(np.sort(foot[:, 0])) > 0.02) == 3


def test_the_material_is_plain_metallic_roughness() -> None:
    cutout = np.zeros((1600, 2400, 4), np.uint8)
    cutout[..., :3] = (200, 120, 40)
    cv2.ellipse(cutout, (1200, 800), (1000, 700), 0, 0, 360, (200, 120, 40, 255), -1)
    # an old background under the transparent part must not be seen anywhere
    cutout[cutout[..., 3] == 0, :3] = (0, 255, 0)
    loaded = assert_promised(reconstruct(cutout).glb)
    document = loaded.document
    assert document["asset"] == {"version": "2.0", "generator": "Lensora Studio"}
    assert "extensionsUsed" not in document
    (material,) = document["materials"]
    slots = material["pbrMetallicRoughness"]
    assert "baseColorTexture" in slots
    assert "metallicRoughnessTexture" in slots
    assert "normalTexture" in material
    chart = loaded.picture(0)
    assert max(chart.shape) <= 1024
    assert np.abs(chart.astype(int) - (200, 120, 40)).max() <= 4
    np.testing.assert_array_equal(np.unique(loaded.picture(1).reshape(-1, 3), axis=0), [[0, 140, 0]])
    np.testing.assert_array_equal(np.unique(loaded.picture(2).reshape(-1, 3), axis=0), [[128, 128, 255]])


def test_trimesh_reads_it_too(mug: Cutout) -> None:
    scene = trimesh.load(io.BytesIO(reconstruct(mug).glb), file_type="glb")
    (mesh,) = scene.geometry.values()
    assert mesh.visual.material.baseColorTexture is not None


def test_the_same_cutout_gives_the_same_bytes(mug: Cutout) -> None:
    assert reconstruct(mug).glb == reconstruct(mug.copy()).glb


def test_a_cancelled_run_stops_where_it_is(mug: Cutout) -> None:
    class Stopping(NullContext):
        phases: list[str]

        def __init__(self) -> None:
            self.phases = []

        def progress(self, fraction: float, phase: str = "") -> None:
            assert 0 <= fraction <= 1
            self.phases.append(phase)

        def check(self) -> None:
            raise Cancelled("no longer wanted")

    context = Stopping()
    with pytest.raises(Cancelled):
        create(Settings()).run(ReconstructRequest(mug), context)
    assert context.phases == ["silhouette", "shape", "surface"]


def test_two_subjects_both_stay() -> None:
    mask = np.zeros((200, 400), bool)
    mask[50:180, 20:150] = mask[80:180, 250:380] = True
    loaded = assert_promised(reconstruct(draw_mask(mask)).glb)
    mesh = trimesh.Trimesh(loaded.attribute("POSITION"), loaded.faces)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.body_count == 2


@st.composite
def strange_masks(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Alpha channels that no segmenter should make, and one day will."""
    height, width = draw(st.integers(1, 160)), draw(st.integers(1, 160))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    alpha = np.zeros((height, width), np.uint8)
    kind = draw(st.sampled_from(["full", "noise", "lines", "blobs", "clouds", "pixel", "stripes"]))
    if kind == "full":
        alpha[:] = 255
    elif kind == "noise":
        alpha[:] = rng.integers(0, 256, alpha.shape)
    elif kind == "lines":
        for start, end in rng.integers(0, (width, height), (6, 2, 2)):
            cv2.line(alpha, start.tolist(), end.tolist(), 255, int(rng.integers(1, 9)))
    elif kind == "blobs":
        for centre in rng.integers(0, (width, height), (5, 2)):
            cv2.ellipse(alpha, centre.tolist(), rng.integers(1, 60, 2).tolist(), 30, 0, 360, int(rng.integers(256)), -1)
    elif kind == "clouds":
        alpha[:] = (cv2.GaussianBlur(rng.random(alpha.shape), (0, 0), 5) > 0.5) * 255
    elif kind == "pixel":
        alpha[height // 2, width // 2] = 255
    else:
        alpha[:, :: draw(st.integers(2, 9))] = 255
    return alpha


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(alpha=strange_masks())
def test_any_mask_gives_a_sound_mesh_or_says_why_not(alpha: NDArray[np.uint8]) -> None:
    cutout = np.dstack([np.full((*alpha.shape, 3), 128, np.uint8), alpha])
    try:
        result = reconstruct(cutout)
    except FailedPrecondition as error:
        assert error.reason == "NO_SUBJECT"
    else:
        assert result.watertight
        assert 0 < result.thin_axis_ratio <= 1
        assert_promised(result.glb)


def test_a_bomb_is_refused_before_any_work() -> None:
    bomb = np.broadcast_to(np.zeros(4, np.uint8), (10_000, 10_000, 4))
    with pytest.raises(InvalidArgument) as caught:
        create(Settings()).run(ReconstructRequest(bomb), NullContext())
    assert caught.value.reason == "IMAGE_TOO_LARGE"
