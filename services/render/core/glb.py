"""Read a GLB (binary glTF 2.0) that a stranger may have made: every count is bounded before work is done on it.

Taken: triangles of the default scene with node transforms, positions, normals, tangents, the first texture coordinates
and colours, and opaque metallic-roughness materials with embedded PNG or JPEG textures. Refused, each with a reason
of its own: external files, required extensions, sparse or compressed data, other primitives. Left out: animation,
skins, morph targets, cameras, lights, emission and alpha.

Khronos Group, glTF 2.0 Specification (ISO/IEC 12113:2022).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument
from services.render.core.materials import MaterialReader
from services.render.core.mesh import Mesh, Primitive, face_normals, tangent_frames

MAX_BYTES = 128 * 1024 * 1024
MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_TRIANGLES = 400_000
MAX_VERTICES = 600_000
MAX_NODES = 10_000
MAX_PRIMITIVES = 500
MAX_COORDINATE = 1e9
"""Largest coordinate in the file's unit: far beyond any object, far below float32's overflow."""

_HEADER = struct.Struct("<4sII")
_CHUNK = struct.Struct("<I4s")
_COMPONENTS: dict[int, str] = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def load_glb(data: bytes) -> Mesh:
    """Parse ``data`` into triangles in the frame of the default scene (right-handed, Y up, front +Z).

    Raises:
        InvalidArgument: field ``glb``; the reason tells what is wrong: ``GLB_TOO_LARGE``, ``NOT_A_GLB``,
            ``GLB_TRUNCATED``, ``GLB_JSON``, ``GLB_STRUCTURE``, ``EXTERNAL_URI``, ``EXTENSION_REQUIRED``,
            ``UNSUPPORTED``, ``OUT_OF_RANGE``, ``TOO_MANY_TRIANGLES``, ``TOO_MANY_VERTICES``, ``NOT_FINITE``,
            ``EMPTY_MESH``, ``IMAGE_TYPE``, ``IMAGE_TOO_LARGE``, ``IMAGE_UNDECODABLE``.
    """
    document, binary = _split(data)
    try:
        return _Reader(document, binary).mesh()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        # any of these means that the JSON is not shaped as the standard says
        raise _invalid("GLB_STRUCTURE", f"its JSON breaks glTF 2.0 ({type(error).__name__}: {error})") from error


def _invalid(reason: str, description: str) -> InvalidArgument:
    return InvalidArgument.of("glb", description, reason=reason)


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON chunk, parsed, and the bytes of the binary chunk."""
    if len(data) > MAX_BYTES:
        raise _invalid("GLB_TOO_LARGE", f"{len(data)} bytes; at most {MAX_BYTES}")
    if len(data) < _HEADER.size + _CHUNK.size or not data.startswith(b"glTF"):
        raise _invalid("NOT_A_GLB", "must be a binary glTF 2.0 file")
    _, version, length = _HEADER.unpack_from(data)
    if version != 2:
        raise _invalid("NOT_A_GLB", f"must be glTF version 2, not {version}")
    if length > len(data):
        raise _invalid("GLB_TRUNCATED", f"its header promises {length} bytes and {len(data)} came")
    chunks = dict(_chunks(memoryview(data)[:length]))
    if b"JSON" not in chunks:
        raise _invalid("NOT_A_GLB", "it has no JSON chunk")
    if len(chunks[b"JSON"]) > MAX_JSON_BYTES:
        raise _invalid("GLB_TOO_LARGE", f"{len(chunks[b'JSON'])} bytes of JSON; at most {MAX_JSON_BYTES}")
    try:
        document = json.loads(bytes(chunks[b"JSON"]))
    except (ValueError, RecursionError) as error:
        raise _invalid("GLB_JSON", "its JSON chunk cannot be parsed") from error
    if not isinstance(document, dict):
        raise _invalid("GLB_JSON", "its JSON chunk must hold an object")
    return document, chunks.get(b"BIN\0", memoryview(b""))


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = _HEADER.size
    while at < len(data):
        if at + _CHUNK.size > len(data):
            raise _invalid("GLB_TRUNCATED", "it ends within a chunk's header")
        length, kind = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if at + length > len(data):
            raise _invalid("GLB_TRUNCATED", f"it ends within its {kind.decode('ascii', 'replace').strip()} chunk")
        yield kind, data[at : at + length]
        at += length


class _Reader:
    """One document; ``mesh`` walks it once."""

    def __init__(self, document: dict[str, Any], binary: memoryview) -> None:
        if document.get("extensionsRequired"):
            names = ", ".join(map(str, document["extensionsRequired"]))[:200]
            raise _invalid("EXTENSION_REQUIRED", f"it needs glTF extensions that are not read here: {names}")
        for entry in (*document.get("buffers", ()), *document.get("images", ())):
            if "uri" in entry:
                raise _invalid("EXTERNAL_URI", "buffers and images must be embedded in the binary chunk, without URIs")
        self._document = document
        self._binary = binary
        self._materials = MaterialReader(document, self._view)
        self._triangles = 0
        self._vertices = 0

    def mesh(self) -> Mesh:
        parts: list[Primitive] = []
        for node, transform in self._placed_nodes():
            for primitive in self._item("meshes", node["mesh"])["primitives"]:
                if len(parts) == MAX_PRIMITIVES:
                    raise _invalid("GLB_STRUCTURE", f"at most {MAX_PRIMITIVES} primitives are drawn")
                parts.append(self._primitive(primitive, transform))
        if not parts:
            raise _invalid("EMPTY_MESH", "its default scene shows no triangles")
        mesh = Mesh(tuple(parts))
        if not _spans_a_plane(mesh.vertices()):
            raise _invalid("EMPTY_MESH", "its triangles have no extent: all corners lie on one line")
        return mesh

    def _item(self, kind: str, index: object) -> dict[str, Any]:
        """Entry ``index`` of one of the document's lists."""
        entries = self._document.get(kind, [])
        # bool is an int, and a negative index would count from the end
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(entries):
            raise _invalid("OUT_OF_RANGE", f"{kind}[{index}] does not exist")
        entry: dict[str, Any] = entries[index]
        return entry

    def _placed_nodes(self) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
        """Nodes of the default scene that hold a mesh, each with its transform to the scene."""
        scene = self._item("scenes", self._document.get("scene", 0))
        pending = [(index, np.eye(4)) for index in scene.get("nodes", ())]
        seen: set[int] = set()
        while pending:
            index, parent = pending.pop()
            node = self._item("nodes", index)
            if index in seen or len(seen) >= MAX_NODES:
                raise _invalid("GLB_STRUCTURE", f"its nodes must form trees of at most {MAX_NODES} nodes")
            seen.add(index)
            transform = parent @ _local_transform(node)
            pending += [(child, transform) for child in node.get("children", ())]
            if "mesh" in node:
                yield node, transform

    def _primitive(self, primitive: dict[str, Any], transform: NDArray[np.float64]) -> Primitive:
        if primitive.get("mode", 4) != 4:
            raise _invalid("UNSUPPORTED", "only triangle lists are drawn (mode 4)")
        attributes = primitive["attributes"]
        positions = _transformed(self._floats(attributes["POSITION"], (3,)), transform, 1.0)
        if not np.abs(positions).max(initial=0.0) <= MAX_COORDINATE:
            raise _invalid("OUT_OF_RANGE", f"its coordinates must stay within ±{MAX_COORDINATE:g}")
        count = len(positions)
        indices = self._indices(primitive, count)
        read = {
            name: self._floats(attributes[name], widths, count)
            for name, widths in (("NORMAL", (3,)), ("TANGENT", (4,)), ("TEXCOORD_0", (2,)), ("COLOR_0", (3, 4)))
            if name in attributes
        }
        if np.linalg.det(transform[:3, :3]) < 0:  # a mirror turns triangles inside out
            indices = np.ascontiguousarray(indices[:, ::-1])
        uvs = read.get("TEXCOORD_0", np.zeros((count, 2), np.float32))
        colors = read.get("COLOR_0", np.ones((count, 3), np.float32))[:, :3]
        normals = _normals(read.get("NORMAL"), transform)
        if normals is None:  # the standard asks for flat shading then: no vertex may be shared
            order = indices.reshape(-1)
            positions, uvs, colors = positions[order], uvs[order], colors[order]
            indices = np.arange(len(order), dtype=np.uint32).reshape(-1, 3)
            normals = _unit(np.repeat(face_normals(positions[indices]), 3, axis=0))
        if "TANGENT" in read and len(read["TANGENT"]) == len(positions) and "NORMAL" in read:
            directions = _unit(_transformed(read["TANGENT"][:, :3], transform, 0.0))
            tangents = np.column_stack([directions, np.where(read["TANGENT"][:, 3] < 0, -1.0, 1.0)]).astype(np.float32)
        else:
            tangents = tangent_frames(positions, normals, uvs, indices)
        material = self._materials.material(primitive.get("material"))
        return Primitive(positions, normals, uvs, tangents, np.ascontiguousarray(colors), indices, material)

    def _indices(self, primitive: dict[str, Any], vertices: int) -> NDArray[np.uint32]:
        """(m, 3) uint32, in range, without triangles that use one vertex twice."""
        count = self._item("accessors", primitive["indices"])["count"] if "indices" in primitive else vertices
        self._triangles += max(0, int(count)) // 3
        if self._triangles > MAX_TRIANGLES:
            raise _invalid("TOO_MANY_TRIANGLES", f"at most {MAX_TRIANGLES:,} triangles are drawn")
        if "indices" in primitive:
            flat = self._accessor(primitive["indices"], (1,), ("<u1", "<u2", "<u4")).reshape(-1)
        else:
            flat = np.arange(vertices)
        corners = flat[: len(flat) // 3 * 3].reshape(-1, 3).astype(np.uint32)
        if not len(corners):
            raise _invalid("EMPTY_MESH", "a primitive has no triangles")
        if corners.max() >= vertices:
            raise _invalid("OUT_OF_RANGE", f"an index of {corners.max()} points past its {vertices} vertices")
        a, b, c = corners.T
        return np.asarray(corners[(a != b) & (b != c) & (c != a)])

    def _floats(self, index: object, widths: tuple[int, ...], count: int | None = None) -> NDArray[np.float32]:
        """A vertex attribute as finite float32, integers normalised (section 3.6.2.2)."""
        if count is None:
            self._vertices += max(0, int(self._item("accessors", index)["count"]))
            if self._vertices > MAX_VERTICES:
                raise _invalid("TOO_MANY_VERTICES", f"at most {MAX_VERTICES:,} vertices are drawn")
        values = self._accessor(index, widths, ("<f4", "<u1", "<u2"))
        if count is not None and len(values) != count:
            raise _invalid("GLB_STRUCTURE", f"attributes of one primitive differ in count: {len(values)} and {count}")
        scale = 1.0 if values.dtype == np.float32 else 1.0 / np.iinfo(values.dtype).max
        with np.errstate(invalid="ignore"):  # some NaN complain when they are touched; they are refused below
            floats = values.astype(np.float32) * np.float32(scale)
        if not np.isfinite(floats).all():
            raise _invalid("NOT_FINITE", "its vertices hold NaN or infinite values")
        return floats

    def _accessor(self, index: object, widths: tuple[int, ...], types: tuple[str, ...]) -> NDArray[Any]:
        """(count, width): the values of one accessor, a view of the file's bytes where that is possible."""
        accessor = self._item("accessors", index)
        if "sparse" in accessor or "bufferView" not in accessor:
            raise _invalid("UNSUPPORTED", "sparse accessors are not read")
        kind, width = _COMPONENTS.get(accessor["componentType"]), _WIDTHS.get(accessor["type"])
        if kind not in types or width not in widths or kind is None or width is None:
            raise _invalid(
                "UNSUPPORTED", f"an accessor of {accessor['type']} / {accessor['componentType']} is out of place"
            )
        view = self._view(accessor["bufferView"])
        row = np.dtype(kind).itemsize * width
        stride = self._item("bufferViews", accessor["bufferView"]).get("byteStride", row)
        count, offset = accessor["count"], accessor.get("byteOffset", 0)
        if not (count >= 0 and offset >= 0 and row <= stride <= 252 + row):
            raise _invalid("OUT_OF_RANGE", "an accessor's count, offset or stride is out of range")
        if count and offset + (count - 1) * stride + row > len(view):
            raise _invalid("OUT_OF_RANGE", f"an accessor of {count} values runs past its buffer view")
        return np.ndarray((count, width), kind, view, offset, (stride, np.dtype(kind).itemsize))

    def _view(self, index: object) -> memoryview:
        """The bytes of one buffer view."""
        view = self._item("bufferViews", index)
        start, length = view.get("byteOffset", 0), view["byteLength"]
        if view["buffer"] != 0 or not (start >= 0 and length >= 0 and start + length <= len(self._binary)):
            raise _invalid("OUT_OF_RANGE", f"bufferViews[{index}] lies outside the binary chunk")
        return self._binary[start : start + length]


def _spans_a_plane(vertices: NDArray[np.floating]) -> bool:
    """Whether the (n, 3) vertices lie neither in one point nor on one line."""
    centred = vertices - vertices.mean(axis=0, dtype=np.float64)
    scale = float(np.abs(centred).max())
    if not scale > 0:
        return False
    spread = np.linalg.eigvalsh((centred / scale).T @ (centred / scale))  # ascending; squares of lengths
    return bool(spread[1] > 1e-8 * spread[2])


def _local_transform(node: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) float64: a node's matrix, or its translation, rotation (quaternion x y z w) and scale."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    transform = np.eye(4)
    transform[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(3)
    transform[:3, 3] = np.array(node.get("translation", (0, 0, 0)), dtype=np.float64).reshape(3)
    return transform


def _transformed(vectors: NDArray[np.float32], transform: NDArray[np.float64], w: float) -> NDArray[np.float32]:
    """``vectors`` as points (w = 1) or directions (w = 0) through ``transform``."""
    if not np.isfinite(transform).all():
        raise _invalid("NOT_FINITE", "its node transforms hold NaN or infinite values")
    with np.errstate(over="ignore", invalid="ignore"):  # _primitive and _unit check what comes out
        return (vectors @ transform[:3, :3].T + w * transform[:3, 3]).astype(np.float32)


def _normals(stored: NDArray[np.float32] | None, transform: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Unit normals in the scene's frame (by the inverse transpose), or None if the file has no usable ones."""
    linear = transform[:3, :3]
    if stored is None or abs(np.linalg.det(linear)) < 1e-30:
        return None
    turned = stored.astype(np.float64) @ np.linalg.inv(linear)
    if (np.linalg.norm(turned, axis=1) < 1e-12).any():
        return None
    return _unit(turned)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to length 1; rows without length become +Y, which no triangle with area uses."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.maximum(length, 1e-300), (0.0, 1.0, 0.0)).astype(np.float32)
