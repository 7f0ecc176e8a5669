"""The optional matte, with a tiny network of the same signature in the place of the 88 MB."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lensora.core import engines, models
from lensora.core.geometry import Box
from lensora.core.models import ModelAltered, ModelMissing
from services.segment.core.isnet import SIZE
from services.segment.engine import SegmentRequest
from services.segment.engines.embedded import Embedded
from services.segment.settings import Settings


def field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: a varint, or bytes with their length before them."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def tensor(name: bytes, channels: int) -> bytes:
    """A ``ValueInfoProto``: float32, (1, channels, SIZE, SIZE)."""
    shape = b"".join(field(1, field(1, side)) for side in (1, channels, SIZE, SIZE))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def tiny_network() -> bytes:
    """ONNX, opset 13: twice the brightest channel for the fine map, and its opposite for a side output."""
    axes = field(1, b"axes") + field(8, 1) + field(20, 7)
    brightest = field(1, b"input") + field(2, b"brightest") + field(4, b"ReduceMax") + field(5, axes)
    fine = field(1, b"brightest") + field(1, b"brightest") + field(2, b"output") + field(4, b"Add")
    opposite = field(1, b"output") + field(2, b"1890") + field(4, b"Neg")
    values = field(11, tensor(b"input", 3)) + field(12, tensor(b"output", 1)) + field(12, tensor(b"1890", 1))
    graph = field(1, brightest) + field(1, fine) + field(1, opposite) + field(2, b"tiny") + values
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tiny network, registered in the place of IS-Net, belongs; not there yet."""
    data = tiny_network()
    known = replace(models.get("isnet"), size=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(models, "MODELS", {**models.MODELS, "isnet": known})
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path))
    return tmp_path / "isnet.onnx"


def load() -> Embedded:
    engine = engines.load("services.segment.engines", "embedded", Settings(matte="isnet"))
    assert isinstance(engine, Embedded)
    return engine


def test_without_the_weights_it_does_not_start_with_others(weights: Path) -> None:
    with pytest.raises(ModelMissing, match="lensora models fetch isnet"):
        load()
    weights.write_bytes(b"something else")
    with pytest.raises(ModelAltered, match="lensora models fetch isnet"):
        load()


def test_it_cuts_out_what_the_network_sees(weights: Path) -> None:
    weights.write_bytes(tiny_network())
    photo = np.zeros((200, 300, 3), np.uint8)
    photo[60:140, 90:210] = (255, 30, 30)
    engine = load()
    result = engine.run(SegmentRequest(photo, Box(0.3, 0.3, 0.7, 0.7)), engines.NullContext())
    left, top, right, bottom = result.crop.pixels(300, 200)
    truth = (photo[top:bottom, left:right, 0] > 0).astype(int)
    assert np.abs(result.cutout[..., 3] / 255 - truth).mean() < 0.02


def test_its_results_are_kept_apart(weights: Path) -> None:
    weights.write_bytes(tiny_network())
    fine = load()
    assert fine.name == "embedded"
    assert fine.version != Embedded(fine._saliency, "u2netp").version


def test_the_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().matte == "u2netp"
    monkeypatch.setenv("SEGMENT_MATTE", "isnet")
    assert Settings().matte == "isnet"
