"""Small whole files of every kind that strangers may send, to be spoilt."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lensora.core.exr import encode_exr
from lensora.core.imaging import encode_png
from lensora.core.scene import Camera, Ground, KeyLight, Scene

SIDE = 40
"""Pixels; little more than the least that is taken."""


def picture() -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) a bright textured disc on a dark ground."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    bright = np.where(np.hypot(x, y) < 0.35 * SIDE, 220 + 30 * np.sin(x), 20)
    return np.stack([bright, bright * 0.9, bright * 0.8], -1).astype(np.uint8)


def cutout() -> NDArray[np.uint8]:
    """(SIDE, SIDE, 4) the disc, cut out."""
    colours = picture()
    return np.dstack([colours, np.where(colours[..., :1] > 100, 255, 0)]).astype(np.uint8)


def photos() -> list[bytes]:
    """JPEG, PNG and WebP in many modes, with EXIF and colour profiles."""
    rgb = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(90)], "duration": 50}
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "JPEG", {"exif": exif, "icc_profile": profile}),
        (rgb, "JPEG", {"progressive": True, "quality": 60}),
        (rgb.convert("L"), "JPEG", {}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "PNG", {"exif": exif}),
        (rgb.quantize(8), "PNG", {"transparency": 3}),
        (Image.fromarray(cutout()), "PNG", {}),
        (Image.fromarray(picture()[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (rgb, "PNG", frames),
        (rgb, "WEBP", {"exif": exif, "icc_profile": profile}),
        (Image.fromarray(cutout()), "WEBP", {"lossless": True}),
        (rgb, "WEBP", frames),
    ]
    return [_saved(image, kind, **options) for image, kind, options in made]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


SCENE = Scene(
    name="grey",
    plate=np.full((256, 256, 3), 150, np.uint8),
    environment=np.full((8, 16, 3), 0.5, np.float32),
    key_light=KeyLight((0.0, 0.8, 0.6), (2.0, 2.0, 2.0), 6.0),
    ground=Ground((0.5, 0.5, 0.5), 0.3),
    camera=Camera((0.0, 0.35, 1.2), (0.0, 0.14, 0.0), 28.0),
    subject_height=0.3,
    subject_width=0.4,
    focus_distance=1.2,
)
"""A small stage; its plate has the size of the smallest film."""

PLATE, ENVIRONMENT = encode_png(SCENE.plate), encode_exr(SCENE.environment)


def glbs() -> list[tuple[dict[str, Any], bytes]]:
    """The JSON and the binary chunk of two boxes: indexed with all attributes and a texture, and bare."""
    return [_box(bare=False), _box(bare=True)]


def pack_glb(document: dict[str, Any], binary: bytes) -> bytes:
    """The GLB of these."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1) for z in (-0.4, 0.4)], np.float32)
_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]], np.uint16)


def _box(*, bare: bool) -> tuple[dict[str, Any], bytes]:
    corners = _CORNERS[_FACES].reshape(24, 3)
    normals = np.repeat([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], 4, 0)
    quads = np.arange(24, dtype=np.uint16).reshape(6, 4)
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    uvs = np.tile([[0, 0], [1, 0], [1, 1], [0, 1]], (6, 1))
    values: list[tuple[NDArray[Any], str, int]] = [
        (corners[triangles].reshape(-1, 3) if bare else corners, "VEC3", 5126),
        (normals.astype(np.float32), "VEC3", 5126),
        (uvs.astype(np.float32), "VEC2", 5126),
        (np.full((24, 4), 255, np.uint8), "VEC4", 5121),
        (triangles.reshape(-1), "SCALAR", 5123),
    ][: 1 if bare else None]
    image = encode_png(picture())
    binary, views, accessors = b"", [], []
    for number, (array, kind, code) in enumerate(values):
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes})
        accessors.append({"bufferView": number, "componentType": code, "type": kind, "count": len(array)})
        binary += array.tobytes() + bytes(-array.nbytes % 4)
    views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(image)})
    attributes = {"POSITION": 0} if bare else {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2, "COLOR_0": 3}
    primitive = {"attributes": attributes} | ({} if bare else {"indices": 4, "material": 0})
    pbr = {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0.1}
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"children": [1], "scale": [1, 2, 1]},
            {"mesh": 0, "translation": [0, 1, 0], "rotation": [0, 0.6, 0, 0.8]},
        ],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": pbr, "normalTexture": {"index": 0, "scale": 1.0}}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"wrapS": 10497, "wrapT": 33071}],
        "images": [{"bufferView": len(views) - 1, "mimeType": "image/png"}],
        "bufferViews": views,
        "accessors": accessors,
        "buffers": [{"byteLength": len(binary) + len(image)}],
    }
    return document, binary + image
