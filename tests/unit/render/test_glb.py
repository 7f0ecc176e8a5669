"""What a stranger's GLB may and may not do to the reader."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lensora.core.engines import NullContext
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import encode_png
from services.render.core import glb as glb_module
from services.render.core.glb import load_glb
from services.render.core.mesh import is_closed
from services.render.core.textures import KEPT_SIDE, decode_texture, picture_size
from services.render.engine import FRAMES_PER_SECOND, RenderRequest
from services.render.engines.embedded import EmbeddedEngine
from tests.weight import weighing

_TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
_PNG = encode_png(np.full((4, 4, 3), 200, np.uint8))


@pytest.fixture
def triangle(kit: SimpleNamespace) -> tuple[dict[str, Any], bytes]:
    """Document and binary of one textured triangle, for tests to spoil."""
    pbr = {"baseColorTexture": {"index": 0}}
    part = kit.Part(_TRIANGLE, np.array([0, 1, 2]), None, _TRIANGLE[:, :2], {"pbrMetallicRoughness": pbr})
    document, binary = kit.describe([part], [_PNG])
    return document, binary


def _reason(data: bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        load_glb(data)
    assert caught.value.violations[0].field == "glb"
    return caught.value.reason


def test_a_good_file_gives_its_vertices_material_and_texture(kit: SimpleNamespace) -> None:
    pbr = {"baseColorFactor": [0.2, 0.4, 0.6, 1], "baseColorTexture": {"index": 0}, "roughnessFactor": 0.3}
    ball = kit.sphere({"pbrMetallicRoughness": pbr, "doubleSided": True}, rings=12)
    mesh = load_glb(kit.make_glb([ball], [_PNG]))
    (part,) = mesh.primitives
    np.testing.assert_allclose(part.positions, ball.positions, atol=1e-6)
    np.testing.assert_allclose(part.normals, ball.normals, atol=1e-5)
    np.testing.assert_allclose(part.uvs, ball.uvs, atol=1e-6)
    assert part.material.base_color_factor == (0.2, 0.4, 0.6)
    assert (part.material.metallic_factor, part.material.roughness_factor) == (1.0, 0.3)
    assert part.material.double_sided
    assert part.material.base_color is not None
    assert part.material.base_color.pixels.shape == (4, 4, 3)
    assert is_closed(part)
    tangents = part.tangents[:, :3]
    assert np.abs((tangents * part.normals).sum(1)).max() < 1e-5
    equator = np.abs(part.normals[:, 1]) < 0.5
    east = np.cross((0, 1, 0), part.normals[equator])
    assert ((tangents[equator] * east).sum(1) > 0).all(), "+u runs east around the sphere"
    assert (part.tangents[equator, 3] == -1).all(), "v runs down, so the frame is mirrored"


def test_nodes_move_turn_scale_and_mirror(kit: SimpleNamespace) -> None:
    document, binary = kit.describe([kit.Part(_TRIANGLE, np.array([0, 1, 2]))], [])
    half = 0.5**0.5
    document["nodes"] = [
        {"children": [1], "translation": [0, 5, 0]},
        {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 2, -2]},
    ]
    (part,) = load_glb(kit.pack_glb(document, binary)).primitives
    corner = part.positions[np.lexsort(part.positions.T)]
    np.testing.assert_allclose(corner, [[-2, 5, 0], [0, 5, 0], [0, 7, 0]], atol=1e-5)
    np.testing.assert_allclose(part.normals, [[0, 0, -1]] * 3, atol=1e-6)


def test_without_normals_shading_is_flat(kit: SimpleNamespace) -> None:
    parts = kit.box(1, 1, 1)
    for part in parts:
        part.normals = None
    for part in load_glb(kit.make_glb(parts)).primitives:
        assert len(part.positions) == 6
        assert np.abs(part.normals).max(axis=1) == pytest.approx(1)


def test_a_box_with_a_missing_side_is_open(kit: SimpleNamespace) -> None:
    sides = load_glb(kit.make_glb(kit.box(1, 1, 1))).primitives
    assert not any(is_closed(side) for side in sides)


@pytest.mark.parametrize("length", [0, 11, 19, 200, -5])
def test_a_file_cut_short_is_refused(triangle: tuple[dict[str, Any], bytes], kit: SimpleNamespace, length: int) -> None:
    data = kit.pack_glb(*triangle)[:length]
    assert _reason(data) in {"NOT_A_GLB", "GLB_TRUNCATED"}


def test_every_prefix_and_every_flipped_byte_is_read_or_refused(
    triangle: tuple[dict[str, Any], bytes], kit: SimpleNamespace
) -> None:
    data = kit.pack_glb(*triangle)
    generator = np.random.default_rng(0)
    for _ in range(400):
        spoiled = bytearray(data)
        for at in generator.integers(12, len(data), 3):
            spoiled[at] = int(generator.integers(256))
        try:
            load_glb(bytes(spoiled))
        except InvalidArgument as error:
            assert error.violations[0].field == "glb"


def _set(document: dict[str, Any], path: str, value: object) -> None:
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    at: Any = document
    for key in parents:
        at = at[key]
    at[last] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("buffers/0/uri", "https://example.org/a.bin", "EXTERNAL_URI"),
        ("buffers/0/uri", "data:application/octet-stream;base64,AAAA", "EXTERNAL_URI"),
        ("images/0/uri", "/etc/passwd", "EXTERNAL_URI"),
        ("extensionsRequired", ["KHR_draco_mesh_compression"], "EXTENSION_REQUIRED"),
        ("accessors/0/count", 10**9, "TOO_MANY_VERTICES"),
        ("accessors/2/count", 3 * 10**9, "TOO_MANY_TRIANGLES"),
        ("accessors/0/count", 4, "OUT_OF_RANGE"),
        ("accessors/0/count", -1, "OUT_OF_RANGE"),
        ("accessors/0/byteOffset", 2**62, "OUT_OF_RANGE"),
        ("accessors/0/sparse", {"count": 1}, "UNSUPPORTED"),
        ("accessors/0/type", "MAT4", "UNSUPPORTED"),
        ("accessors/0/count", "many", "GLB_STRUCTURE"),
        ("accessors/1/count", 2, "GLB_STRUCTURE"),
        ("bufferViews/0/byteOffset", -4, "OUT_OF_RANGE"),
        ("bufferViews/0/byteLength", 2**40, "OUT_OF_RANGE"),
        ("bufferViews/0/byteStride", 0, "OUT_OF_RANGE"),
        ("bufferViews/0/buffer", 1, "OUT_OF_RANGE"),
        ("meshes/0/primitives/0/mode", 1, "UNSUPPORTED"),
        ("meshes/0/primitives/0/attributes", {}, "GLB_STRUCTURE"),
        ("meshes/0/primitives/0/material", 7, "OUT_OF_RANGE"),
        ("meshes/0/primitives", [], "EMPTY_MESH"),
        ("nodes/0/mesh", -1, "OUT_OF_RANGE"),
        ("nodes/0/children", [0], "GLB_STRUCTURE"),
        ("nodes/0/scale", [0, 0, 0], "EMPTY_MESH"),
        ("nodes/0/scale", [1e300, 1e300, 1e300], "OUT_OF_RANGE"),
        ("nodes/0/matrix", [float("nan")] * 16, "NOT_FINITE"),
        ("scene", 3, "OUT_OF_RANGE"),
        ("materials/0/pbrMetallicRoughness/roughnessFactor", 7.0, "OUT_OF_RANGE"),
        ("materials/0/pbrMetallicRoughness/baseColorTexture/texCoord", 1, "UNSUPPORTED"),
    ],
)
def test_a_spoiled_document_is_refused_with_its_own_reason(
    triangle: tuple[dict[str, Any], bytes], kit: SimpleNamespace, path: str, value: object, reason: str
) -> None:
    document, binary = triangle
    _set(document, path, value)
    assert _reason(kit.pack_glb(document, binary)) == reason


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_positions_must_be_finite(kit: SimpleNamespace, value: float) -> None:
    positions = _TRIANGLE.copy()
    positions[1, 1] = value
    assert _reason(kit.make_glb([kit.Part(positions, np.array([0, 1, 2]))])) == "NOT_FINITE"


def test_an_index_past_the_vertices_is_refused(kit: SimpleNamespace) -> None:
    assert _reason(kit.make_glb([kit.Part(_TRIANGLE, np.array([0, 1, 3]))])) == "OUT_OF_RANGE"


def test_one_mesh_placed_often_counts_each_time(
    kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, triangle: tuple[dict[str, Any], bytes]
) -> None:
    monkeypatch.setattr(glb_module, "MAX_TRIANGLES", 10)
    document, binary = triangle
    document["nodes"] = [{"mesh": 0}] * 11
    document["scenes"] = [{"nodes": list(range(11))}]
    assert _reason(kit.pack_glb(document, binary)) == "TOO_MANY_TRIANGLES"


def test_a_bomb_of_a_picture_is_refused_by_its_header(
    kit: SimpleNamespace, triangle: tuple[dict[str, Any], bytes]
) -> None:
    bomb = bytearray(_PNG)
    bomb[16:24] = struct.pack(">II", 65535, 65535)
    document, binary = triangle
    at = document["bufferViews"][document["images"][0]["bufferView"]]["byteOffset"]
    spoiled = binary[:at] + bytes(bomb) + binary[at + len(bomb) :]
    assert _reason(kit.pack_glb(document, spoiled)) == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"GIF89a" + bytes(40), "IMAGE_TYPE"), (b"\xff\xd8\xff", "IMAGE_TYPE"), (_PNG[:40], "IMAGE_UNDECODABLE")],
)
def test_pictures_that_are_none(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_texture(data)
    assert caught.value.reason == reason


def test_a_chunk_of_a_picture_that_says_it_is_huge_costs_no_memory() -> None:
    at = _PNG.index(b"IDAT") - 4
    with weighing() as weight, pytest.raises(InvalidArgument) as caught:
        decode_texture(_PNG[:at] + struct.pack(">I", 2**31 - 1) + _PNG[at + 4 :])
    assert caught.value.reason == "IMAGE_UNDECODABLE" and weight.grown < 50


def test_a_jpeg_is_sized_and_decoded_in_rgb() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 2] = 250  # red, in OpenCV's order
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    assert picture_size(data) == (30, 20)
    assert decode_texture(data)[10, 10, 0] > 200


def test_large_textures_are_reduced() -> None:
    wide = encode_png(np.zeros((16, 4096, 3), np.uint8))
    assert decode_texture(wide).shape == (8, KEPT_SIDE, 3)


def test_json_that_nests_without_end_is_refused() -> None:
    text = b"[" * 100_000
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    data = struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk
    assert _reason(data) == "GLB_JSON"


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0, 0], [1, 1, 0], [2, 2, 0]],
        [[0, 0, 0], [1, 0, 0], [1, 0, 0]],
        [[5, 5, 5], [5, 5, 5], [5, 5, 5]],
        [[0, 0, 0], [1, 2, 3], [2, 4, 6.0000001]],
    ],
    ids=["slanting line", "two points", "one point", "as good as a line"],
)
def test_triangles_on_a_line_are_no_mesh(kit: SimpleNamespace, corners: list[list[float]]) -> None:
    assert _reason(kit.make_glb([kit.Part(np.array(corners), np.array([0, 1, 2]))])) == "EMPTY_MESH"


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_one_triangle_is_filmed_as_the_slab_it_is(kit: SimpleNamespace, engine: EmbeddedEngine, scale: float) -> None:
    glb = kit.make_glb([kit.Part(_TRIANGLE * scale, np.array([0, 1, 2]))])
    request = RenderRequest(glb, kit.make_scene(), width=256, height=256, duration_s=3 / FRAMES_PER_SECOND)
    result = engine.run(request, NullContext())
    assert result.frames == 3 and result.clamped
