"""Environments keep their light to half precision; a hostile EXR is refused before it costs anything."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument
from lensora.core.exr import decode_exr, encode_exr


def light(height: int = 16) -> NDArray[np.float32]:
    """Eight orders of magnitude of radiance."""
    exponents = np.random.default_rng(0).uniform(-4, 4, (height, 2 * height, 3))
    return np.asarray(10.0**exponents, np.float32)


def exr(channels: dict[str, NDArray[Any]], **header: object) -> bytes:
    stream = io.BytesIO()
    plain = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(plain | header, channels).write(stream)
    return stream.getvalue()


def parts(*shapes: tuple[int, int]) -> bytes:
    """A file of several pictures, all zero."""
    window = (np.array([0, 0], np.int32), np.array([31, 15], np.int32))
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "displayWindow": window}
    made = [
        OpenEXR.Part(dict(header), {"RGB": np.zeros((*shape, 3), np.float16)}, f"part{number}")
        for number, shape in enumerate(shapes)
    ]
    stream = io.BytesIO()
    OpenEXR.File(made).write(stream)
    return stream.getvalue()


GOOD = encode_exr(light())


def with_window(*corners: int) -> bytes:
    """The same file with another data window in its header."""
    name = b"dataWindow\0box2i\0"
    at = GOOD.index(name) + len(name) + 4
    return GOOD[:at] + np.array(corners, "<i4").tobytes() + GOOD[at + 16 :]


def spoilt(value: float) -> NDArray[np.float16]:
    picture = light().astype(np.float16)
    picture[3, 5, 1] = value
    return picture


def test_light_comes_back_to_half_precision() -> None:
    picture = light()
    back = decode_exr(encode_exr(picture), "environment")
    assert back.dtype == np.float32 and back.shape == picture.shape
    assert np.array_equal(back, picture.astype(np.float16).astype(np.float32))
    assert encode_exr(picture.copy()) == GOOD, "the same array, the same bytes"


def test_what_half_floats_cannot_hold_is_clamped() -> None:
    picture = light()
    picture[0, 0] = (1e9, -1.0, np.inf)
    assert decode_exr(encode_exr(picture), "environment")[0, 0].tolist() == [65504.0, 0.0, 65504.0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"junk" * 100, id="junk"),
        pytest.param(GOOD[:50], id="header cut"),
        pytest.param(GOOD[: len(GOOD) // 2], id="half"),
        pytest.param(GOOD[:-1], id="last byte"),
        pytest.param(with_window(0, 0, 2047, 1023), id="says more than it holds"),
        pytest.param(with_window(0, 0, 199_999, 99_999), id="bomb"),
        pytest.param(with_window(-(2**31), -(2**31), 2**31 - 1, 2**31 - 1), id="overflow"),
        pytest.param(with_window(0, 0, -5, -5), id="turned over"),
        pytest.param(exr({"RGB": np.zeros((16, 16, 3), np.float16)}), id="square"),
        pytest.param(exr({"RGB": np.zeros((1025, 2050, 3), np.float16)}), id="too tall"),
        pytest.param(exr({"RGB": spoilt(np.nan)}), id="NaN"),
        pytest.param(exr({"RGB": spoilt(np.inf)}), id="infinite"),
        pytest.param(exr({"RGB": spoilt(-1e-3)}), id="negative"),
        pytest.param(exr({"Y": np.zeros((16, 32), np.float16)}), id="grey"),
        pytest.param(exr({"RGBA": np.zeros((16, 32, 4), np.float16)}), id="alpha"),
    ],
)
def test_a_hostile_or_damaged_environment_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_exr(data, "scene.environment")
    assert refused.value.violations[0].field == "scene.environment"


def test_a_bomb_of_channels_is_not_unpacked() -> None:
    zeros = np.zeros((512, 1024), np.float16)
    bomb = exr({f"C{number}": zeros for number in range(64)} | {"RGB": np.zeros((512, 1024, 3), np.float16)})
    start = time.process_time()
    with pytest.raises(InvalidArgument, match="R, G and B"):
        decode_exr(bomb, "environment")
    assert time.process_time() - start < 0.1


def test_a_bomb_in_a_second_part_is_not_unpacked() -> None:
    bomb = parts((16, 32), (2000, 4000))
    start = time.process_time()
    with pytest.raises(InvalidArgument):
        decode_exr(bomb, "environment")
    assert time.process_time() - start < 0.1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage_is_either_refused_or_harmless(at: int, junk: bytes) -> None:
    try:
        picture = decode_exr(GOOD[:at] + junk + GOOD[at + len(junk) :], "environment")
    except InvalidArgument:
        return
    assert picture.shape[1] == 2 * picture.shape[0] and np.isfinite(picture).all() and picture.min() >= 0
