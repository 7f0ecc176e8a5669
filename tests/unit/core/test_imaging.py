"""Colour goes there and back exactly; hostile PNGs are refused before or while they are decoded."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument
from lensora.core.imaging import decode_png, encode_png, linear_to_srgb, srgb_to_linear
from tests.weight import weighing


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def png(width: int, height: int, raw: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header says what we like."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_srgb_to_linear_and_back_is_exact_for_every_value() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    linear = srgb_to_linear(values)
    assert linear.dtype == np.float32 and linear.shape == values.shape
    assert np.array_equal(linear_to_srgb(linear), values)
    assert np.array_equal(linear_to_srgb(linear.astype(np.float64)), values)


def test_the_curve_is_the_standard_s() -> None:
    linear = srgb_to_linear(np.array([0, 10, 128, 255], np.uint8))
    assert linear == pytest.approx([0.0, 0.0030353, 0.2158605, 1.0], abs=1e-6)
    assert (np.diff(srgb_to_linear(np.arange(256, dtype=np.uint8))) > 0).all()


def test_linear_light_beyond_the_display_is_clamped() -> None:
    assert linear_to_srgb(np.array([-1.0, -1e-9, 0.0, 1.0, 1.0001, 1e9, np.inf])).tolist() == [0, 0, 0, *[255] * 4]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_comes_back_bit_by_bit(channels: int) -> None:
    picture = noise(37, 53, channels)
    data = encode_png(picture)
    assert np.array_equal(decode_png(data, "image", channels=channels), picture)
    assert data == encode_png(picture.copy()), "the same array, the same bytes"
    assert b"tEXt" not in data and b"tIME" not in data


def test_colour_under_full_transparency_survives() -> None:
    picture = noise(8, 8, 4)
    picture[..., 3] = 0
    assert np.array_equal(decode_png(encode_png(picture), "image", channels=4), picture)


def test_only_8_bit_pictures_are_encoded() -> None:
    with pytest.raises(ValueError, match="uint8 expected"):
        encode_png(np.zeros((8, 8, 3), np.float32))


PLAIN = encode_png(noise(64, 48, 3))
FLIPPED = PLAIN[: len(PLAIN) // 2] + bytes([PLAIN[len(PLAIN) // 2] ^ 0xFF]) + PLAIN[len(PLAIN) // 2 + 1 :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "NOT_A_PNG", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(100), "NOT_A_PNG", id="jpeg"),
        pytest.param(PLAIN[:32], "NOT_A_PNG", id="header cut"),
        pytest.param(PLAIN[:8] + PLAIN[33:], "NOT_A_PNG", id="no header"),
        pytest.param(png(60_000, 60_000, b""), "IMAGE_TOO_LARGE", id="bomb"),
        pytest.param(png(2**31, 2**31, b""), "IMAGE_TOO_LARGE", id="overflow"),
        pytest.param(png(50_000_001, 1, b""), "IMAGE_TOO_LARGE", id="a line"),
        pytest.param(png(0, 8, b""), "IMAGE_TOO_LARGE", id="no width"),
        pytest.param(PLAIN[:33], "UNDECODABLE", id="header only"),
        pytest.param(PLAIN[: len(PLAIN) // 2], "UNDECODABLE", id="half"),
        pytest.param(PLAIN[:-13], "UNDECODABLE", id="last byte of the picture"),
        pytest.param(FLIPPED, "UNDECODABLE", id="one bit"),
        pytest.param(png(8, 8, bytes(100)), "UNDECODABLE", id="too few pixels"),
        pytest.param(png(2_000_000, 1, bytes(6_000_001)), "UNDECODABLE", id="wide"),
        pytest.param(png(8, 8, bytes(8 * 49), depth=16), "UNDECODABLE", id="16 bit"),
        pytest.param(png(8, 8, bytes(72), colour=0), "UNDECODABLE", id="grey"),
        pytest.param(encode_png(noise(8, 8, 4)), "UNDECODABLE", id="alpha not asked for"),
    ],
)
def test_a_hostile_or_damaged_png_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_png(data, "photo", channels=3)
    assert refused.value.reason == reason and refused.value.violations[0].field == "photo"


def test_a_chunk_that_says_it_is_huge_costs_no_memory() -> None:
    at = PLAIN.index(b"IDAT") - 4
    claims = PLAIN[:at] + struct.pack(">I", 2**31 - 1) + PLAIN[at + 4 :]
    with weighing() as weight, pytest.raises(InvalidArgument) as refused:
        decode_png(claims, "photo", channels=3)
    assert refused.value.reason == "UNDECODABLE" and weight.grown < 50


def test_a_cut_out_needs_its_alpha() -> None:
    with pytest.raises(InvalidArgument, match="RGBA"):
        decode_png(PLAIN, "cutout", channels=4)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage_is_either_refused_or_harmless(at: int, junk: bytes) -> None:
    try:
        picture = decode_png(PLAIN[:at] + junk + PLAIN[at + len(junk) :], "photo", channels=3)
    except InvalidArgument:
        return
    assert picture.shape == (64, 48, 3)
