"""Small scenes, meshes and files for the renderer's tests, and golden pictures.

Golden pictures lie in ``tests/golden/render``. They are always rendered and compared; ``REGENERATE_GOLDEN=1`` in the
environment writes them anew. On a mismatch the picture and its difference are left in ``out/golden``.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.imaging import decode_png, encode_png
from lensora.core.scene import Camera, Ground, KeyLight, Scene
from services.render.core.film import Planes
from services.render.core.glb import load_glb
from services.render.core.gpu import Gpu
from services.render.core.moves import camera_move
from services.render.core.placement import place
from services.render.core.simplify import simplified
from services.render.core.stage import Stage
from services.render.engine import CameraPreset
from services.render.engines.embedded import COARSE_TRIANGLES, EmbeddedEngine, create
from services.render.settings import Settings

_GOLDEN = Path(__file__).parents[2] / "golden" / "render"
_FAILED = Path("out") / "golden"


@dataclass
class Part:
    """One primitive of a test mesh."""

    positions: NDArray[np.floating]
    indices: NDArray[np.integer]
    normals: NDArray[np.floating] | None = None
    uvs: NDArray[np.floating] | None = None
    material: dict[str, Any] = field(default_factory=dict)


def pack_glb(document: dict[str, Any], binary: bytes) -> bytes:
    """A GLB of this JSON and this binary chunk, right or wrong."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def describe(parts: list[Part], images: list[bytes]) -> tuple[dict[str, Any], bytes]:
    """The glTF document and the binary chunk of a mesh; texture i shows image i."""
    document: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
    document |= {"nodes": [{"mesh": 0}], "bufferViews": [], "accessors": [], "images": [], "materials": []}
    binary = io.BytesIO()

    def view(data: bytes) -> int:
        binary.write(b"\0" * (-binary.tell() % 4))
        document["bufferViews"].append({"buffer": 0, "byteOffset": binary.tell(), "byteLength": len(data)})
        binary.write(data)
        return len(document["bufferViews"]) - 1

    def accessor(values: NDArray[Any], kind: str, dtype: str, code: int) -> int:
        entry = {"bufferView": view(values.astype(dtype).tobytes()), "componentType": code, "type": kind}
        document["accessors"].append(entry | {"count": values.size if kind == "SCALAR" else len(values)})
        return len(document["accessors"]) - 1

    primitives = []
    for number, part in enumerate(parts):
        attributes = {"POSITION": accessor(np.asarray(part.positions), "VEC3", "<f4", 5126)}
        if part.normals is not None:
            attributes["NORMAL"] = accessor(part.normals, "VEC3", "<f4", 5126)
        if part.uvs is not None:
            attributes["TEXCOORD_0"] = accessor(part.uvs, "VEC2", "<f4", 5126)
        indices = accessor(np.asarray(part.indices), "SCALAR", "<u4", 5125)
        primitives.append({"attributes": attributes, "indices": indices, "material": number})
        document["materials"].append(part.material)
    document["meshes"] = [{"primitives": primitives}]
    document["images"] = [{"bufferView": view(image), "mimeType": "image/png"} for image in images]
    document["textures"] = [{"source": index} for index in range(len(images))]
    document["buffers"] = [{"byteLength": binary.tell()}]
    return document, binary.getvalue()


def make_glb(parts: list[Part], images: list[bytes] | None = None) -> bytes:
    return pack_glb(*describe(parts, images or []))


def sphere(material: dict[str, Any], rings: int = 48) -> Part:
    """A sphere of radius 1 with smooth normals, closed, its texture once around."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    normals = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    uvs = np.stack([around / (2 * np.pi), polar / np.pi], -1).reshape(-1, 2)
    row, column = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a = (row * (2 * rings + 1) + column).reshape(-1)
    below = a + 2 * rings + 1
    triangles = np.concatenate([np.stack([a, below, below + 1], 1), np.stack([a, below + 1, a + 1], 1)])
    return Part(normals.reshape(-1, 3), triangles, normals.reshape(-1, 3), uvs, material)


def box(
    width: float, height: float, depth: float, colors: dict[str, tuple[float, float, float]] | None = None
) -> list[Part]:
    """A box on the ground around the Y axis, one primitive a side; ``colors`` by ``+z``, ``-x``, …; grey otherwise."""
    parts = []
    half = np.array([width, height, depth]) / 2
    for axis, sign in ((axis, sign) for axis in range(3) for sign in (1, -1)):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3] * sign
        normal = np.eye(3)[axis] * sign
        corners = np.array([normal - u - v, normal + u - v, normal + u + v, normal - u + v]) * half
        color = (colors or {}).get(f"{'+-'[sign < 0]}{'xyz'[axis]}", (0.5, 0.5, 0.5))
        pbr = {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.9}
        positions = corners + np.array((0, half[1], 0))
        indices = np.array([[0, 1, 2], [0, 2, 3]])
        parts.append(Part(positions, indices, np.repeat(normal[None], 4, 0), None, {"pbrMetallicRoughness": pbr}))
    return parts


def make_scene(
    size: tuple[int, int] = (256, 256),
    *,
    environment: NDArray[np.float32] | None = None,
    key: float = 2.0,
    plate: NDArray[np.uint8] | None = None,
    exposure: float = 0.5,
) -> Scene:
    """A grey stage under a sky with a window to the left."""
    width, height = size
    if environment is None:
        environment = np.full((32, 64, 3), 0.5, np.float32)
        environment[:16] = (0.7, 0.75, 0.85)
        environment[6:12, 8:16] = (6.0, 5.5, 5.0)
    if plate is None:
        plate = np.repeat(np.linspace(120, 190, height).astype(np.uint8)[:, None, None], width, 1).repeat(3, 2)
    direction = np.array((-0.6, 0.7, 0.4)) / math.sqrt(0.6**2 + 0.7**2 + 0.4**2)
    return Scene(
        name="test",
        plate=plate,
        environment=environment,
        key_light=KeyLight(tuple(direction), (key, key, key), 6.0),
        ground=Ground((0.5, 0.5, 0.5), 0.9),
        camera=Camera((0.0, 0.35, 1.2), (0.0, 0.14, 0.0), 28.0),
        subject_height=0.3,
        subject_width=0.4,
        focus_distance=1.2,
        exposure=exposure,
    )


def to_rgb(planes: Planes) -> NDArray[np.uint8]:
    """(h, w, 3) R'G'B' of a picture: ITU-R BT.709 in reverse, chroma doubled."""
    luma = (planes.luma.astype(float) - 16) / 219
    blue, red = (
        np.kron((plane.astype(float) - 128) / 224, np.ones((2, 2)))
        for plane in (planes.blue_difference, planes.red_difference)
    )
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    return np.asarray(np.clip(np.stack([r, g, b], -1), 0, 1) * 255 + 0.5).astype(np.uint8)


def decode_film(data: bytes) -> list[NDArray[np.uint8]]:
    """Every frame of an MP4 as R'G'B'."""
    frames = []
    with av.open(io.BytesIO(data), "r") as container:
        for frame in container.decode(video=0):
            planes = [
                np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width]
                for plane in frame.planes
            ]
            frames.append(to_rgb(Planes(*planes)))
    return frames


@pytest.fixture(scope="session")
def engine() -> EmbeddedEngine:
    """The one OpenGL context of the test run."""
    return create(Settings())


@pytest.fixture
def gpu(engine: EmbeddedEngine) -> Iterator[Gpu]:
    """The engine's context, with nothing left behind and no OpenGL error after the test."""
    yield engine._gpu
    engine._gpu.collect()
    assert engine._gpu.context.error == "GL_NO_ERROR"


Photograph = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def photograph(gpu: Gpu) -> Photograph:
    """``photograph(glb, scene, yaw)``: one frame as (h, w, 3) sRGB."""

    def take(glb: bytes, scene: Scene, yaw: float = 0.0) -> NDArray[np.uint8]:
        return _draw(gpu, glb, scene, "turntable", [round(yaw)], frames=360)[0]

    return take


@pytest.fixture
def shoot(gpu: Gpu) -> Callable[..., list[NDArray[np.uint8]]]:
    """``shoot(glb, scene, preset, numbers, frames)``: those frames of a move of so many, as (h, w, 3) sRGB."""
    return functools.partial(_draw, gpu)


def _draw(
    gpu: Gpu, glb: bytes, scene: Scene, preset: CameraPreset, numbers: list[int], frames: int = 25
) -> list[NDArray[np.uint8]]:
    mesh = load_glb(glb)
    vertices = mesh.vertices()
    placement = place(vertices, scene, 0.0)
    move = camera_move(preset, frames, scene, placement, vertices, slab=False)
    coarse = simplified(*mesh.merged(), COARSE_TRIANGLES)
    stage = Stage(gpu, mesh, coarse, scene, placement, move, lambda: None)
    return [to_rgb(stage.draw(number)[0]) for number in numbers]


@pytest.fixture
def assert_golden() -> Callable[[str, NDArray[np.uint8]], None]:
    """``assert_golden(name, picture)``: within what another rasteriser or compiler may round differently."""

    def compare(name: str, picture: NDArray[np.uint8]) -> None:
        path = _GOLDEN / f"{name}.png"
        if os.environ.get("REGENERATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(picture))
        wanted = decode_png(path.read_bytes(), name, channels=3)
        difference = np.abs(picture.astype(int) - wanted)
        if difference.mean() > 0.5 or np.quantile(difference, 0.999) > 12:
            _FAILED.mkdir(parents=True, exist_ok=True)
            (_FAILED / f"{name}.png").write_bytes(encode_png(picture))
            amplified = np.clip(difference * 8, 0, 255).astype(np.uint8)
            (_FAILED / f"{name}.difference.png").write_bytes(encode_png(amplified))
            pytest.fail(f"{name}: mean difference {difference.mean():.2f}, see {_FAILED.resolve()}")

    return compare


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The makers above; test modules cannot import them under pytest's importlib mode."""
    return SimpleNamespace(
        Part=Part,
        pack_glb=pack_glb,
        describe=describe,
        make_glb=make_glb,
        sphere=sphere,
        box=box,
        make_scene=make_scene,
        decode_film=decode_film,
    )
