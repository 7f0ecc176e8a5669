"""glTF 2.0 binary files of one textured mesh (Khronos, "glTF 2.0 Specification", ISO/IEC 12113:2022)."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _UNSIGNED_INT = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded texture."""

    data: bytes
    media_type: str
    """``image/png`` or ``image/jpeg``."""


@dataclass(frozen=True, slots=True)
class Material:
    """Metallic-roughness textures."""

    base_colour: Picture
    """sRGB."""

    metallic_roughness: Picture
    """Linear; green is roughness, blue is metalness."""

    normal: Picture
    """Linear; tangent space, +Y up (OpenGL's convention)."""


def write_glb(
    positions: NDArray[np.floating],
    normals: NDArray[np.floating],
    tangents: NDArray[np.floating],
    uvs: NDArray[np.floating],
    faces: NDArray[np.integer],
    material: Material,
) -> bytes:
    """The same arguments give the same bytes.

    Args:
        positions: (n, 3) metres, right-handed, Y up, front +Z.
        normals: (n, 3) unit.
        tangents: (n, 4) unit and at right angles to the normals; w is the handedness, 1 or -1.
        uvs: (n, 2) origin at the texture's top left corner, v down.
        faces: (m, 3) counter-clockwise from outside.
        material: the textures.
    """
    builder = _Builder()
    points = np.ascontiguousarray(positions, np.float32)
    extremes = {"min": points.min(0).tolist(), "max": points.max(0).tolist()}
    attributes = {
        "POSITION": builder.accessor(points, _FLOAT, "VEC3", _ARRAY_BUFFER, extremes),
        "NORMAL": builder.accessor(np.ascontiguousarray(normals, np.float32), _FLOAT, "VEC3", _ARRAY_BUFFER, {}),
        "TANGENT": builder.accessor(np.ascontiguousarray(tangents, np.float32), _FLOAT, "VEC4", _ARRAY_BUFFER, {}),
        "TEXCOORD_0": builder.accessor(np.ascontiguousarray(uvs, np.float32), _FLOAT, "VEC2", _ARRAY_BUFFER, {}),
    }
    indices = np.ascontiguousarray(faces.ravel(), np.uint32)
    element = builder.accessor(indices, _UNSIGNED_INT, "SCALAR", _ELEMENT_ARRAY_BUFFER, {})
    images = [builder.image(p) for p in (material.base_colour, material.metallic_roughness, material.normal)]
    document = {
        "asset": {"version": "2.0", "generator": "Lensora Studio"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "subject"}],
        "meshes": [{"name": "subject", "primitives": [{"attributes": attributes, "indices": element, "material": 0}]}],
        "materials": [_MATERIAL],
        "textures": [{"sampler": 0, "source": index} for index in range(3)],
        "samplers": [
            {
                "magFilter": _LINEAR,
                "minFilter": _LINEAR_MIPMAP_LINEAR,
                "wrapS": _CLAMP_TO_EDGE,
                "wrapT": _CLAMP_TO_EDGE,
            }
        ],
        "images": images,
        "accessors": builder.accessors,
        "bufferViews": builder.views,
        "buffers": [{"byteLength": len(builder.data)}],
    }
    return _container(document, bytes(builder.data))


_MATERIAL: dict[str, Any] = {
    "name": "subject",
    "pbrMetallicRoughness": {
        "baseColorTexture": {"index": 0},
        "metallicRoughnessTexture": {"index": 1},
    },
    "normalTexture": {"index": 2},
}


class _Builder:
    """Collects the binary chunk and what points into it; every view starts on four bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def accessor(
        self, values: NDArray[Any], component: int, kind: str, target: int, extremes: dict[str, list[float]]
    ) -> int:
        view = self._view(values.tobytes(), {"target": target})
        entry = {"bufferView": view, "componentType": component, "count": len(values), "type": kind, **extremes}
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def image(self, picture: Picture) -> dict[str, Any]:
        return {"bufferView": self._view(picture.data, {}), "mimeType": picture.media_type}

    def _view(self, data: bytes, more: dict[str, int]) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more})
        self.data += data + bytes(-len(data) % 4)
        return len(self.views) - 1


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
