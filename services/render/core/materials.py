"""Materials and textures of a glTF document; see ``glb`` for what is taken and refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lensora.core.errors import InvalidArgument
from services.render.core.mesh import Material, Texture
from services.render.core.textures import MAX_TOTAL_PIXELS, decode_texture, picture_size

_REPEAT, _CLAMP = 10497, 33071
"""glTF's (OpenGL's) numbers of the two wrap modes that are drawn."""


class MaterialReader:
    """Decodes each picture at most once, and only those that a drawn material uses."""

    def __init__(self, document: dict[str, Any], view: Callable[[object], memoryview]) -> None:
        """``view`` gives the bytes of a buffer view by its index, bounds checked."""
        self._document = document
        self._view = view
        self._materials: dict[int, Material] = {}
        self._textures: dict[int, Texture] = {}
        self._pixels = 0

    def material(self, index: int | None) -> Material:
        """Material ``index``; glTF's default material for None.

        Raises:
            InvalidArgument: field ``glb``, as ``glb.load_glb`` says.
        """
        if index is None:
            return Material()
        if index not in self._materials:
            self._materials[index] = self._read(self._item("materials", index))
        return self._materials[index]

    def _read(self, entry: dict[str, Any]) -> Material:
        pbr = entry.get("pbrMetallicRoughness", {})
        normal = entry.get("normalTexture")
        red, green, blue, _ = (_factor(value) for value in pbr.get("baseColorFactor", (1, 1, 1, 1)))
        scale = float(normal.get("scale", 1.0)) if normal else 1.0
        if not math.isfinite(scale):
            raise InvalidArgument.of("glb", "a normal texture's scale must be finite", reason="NOT_FINITE")
        return Material(
            base_color_factor=(red, green, blue),
            metallic_factor=_factor(pbr.get("metallicFactor", 1.0)),
            roughness_factor=_factor(pbr.get("roughnessFactor", 1.0)),
            normal_scale=scale,
            base_color=self._texture(pbr.get("baseColorTexture")),
            metallic_roughness=self._texture(pbr.get("metallicRoughnessTexture")),
            normal=self._texture(normal),
            double_sided=entry.get("doubleSided", False) is True,
        )

    def _texture(self, reference: dict[str, Any] | None) -> Texture | None:
        if reference is None:
            return None
        if reference.get("texCoord", 0) != 0:
            raise InvalidArgument.of("glb", "only the first texture coordinates are drawn", reason="UNSUPPORTED")
        index = reference["index"]
        if index not in self._textures:
            entry = self._item("textures", index)
            sampler = self._item("samplers", entry["sampler"]) if "sampler" in entry else {}
            wraps = (sampler.get("wrapS", _REPEAT), sampler.get("wrapT", _REPEAT))
            if not {*wraps} <= {_REPEAT, _CLAMP}:
                raise InvalidArgument.of("glb", "textures must repeat or clamp", reason="UNSUPPORTED")
            data = bytes(self._view(self._item("images", entry["source"])["bufferView"]))
            width, height = picture_size(data)
            self._pixels += width * height
            if self._pixels > MAX_TOTAL_PIXELS:
                message = f"its textures hold more than {MAX_TOTAL_PIXELS:,} pixels together"
                raise InvalidArgument.of("glb", message, reason="IMAGE_TOO_LARGE")
            self._textures[index] = Texture(decode_texture(data), (wraps[0] == _REPEAT, wraps[1] == _REPEAT))
        return self._textures[index]

    def _item(self, kind: str, index: object) -> dict[str, Any]:
        entries = self._document.get(kind, [])
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(entries):
            raise InvalidArgument.of("glb", f"{kind}[{index}] does not exist", reason="OUT_OF_RANGE")
        entry: dict[str, Any] = entries[index]
        return entry


def _factor(value: float) -> float:
    """A factor in [0, 1], as the standard demands."""
    if not 0.0 <= value <= 1.0:
        raise InvalidArgument.of("glb", f"a material's factor must lie in [0, 1], not {value}", reason="OUT_OF_RANGE")
    return float(value)
