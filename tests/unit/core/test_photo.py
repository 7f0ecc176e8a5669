"""What strangers upload: every mode, every orientation, every kind of damage."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from lensora.core import upload
from lensora.core.engines import NullContext
from lensora.core.errors import Cancelled, InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.photo import NEUTRAL, decode

CORNERS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210), "white": (250, 250, 250)}


def corners(width: int = 96, height: int = 64) -> Image.Image:
    """Four plain quarters: red, green / blue, white."""
    picture = Image.new("RGB", (width, height), CORNERS["red"])
    picture.paste(CORNERS["green"], (width // 2, 0, width, height // 2))
    picture.paste(CORNERS["blue"], (0, height // 2, width // 2, height))
    picture.paste(CORNERS["white"], (width // 2, height // 2, width, height))
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    photo = decode(data, NullContext())
    assert photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3
    assert photo.flags.c_contiguous and photo.flags.writeable
    return photo


def refusal(data: bytes) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        decode(data, NullContext())
    assert [violation.field for violation in caught.value.violations] == ["image"]
    return caught.value


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for what Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def matrix_profile(red: tuple[float, float, float], green: tuple[float, float, float]) -> bytes:
    """A version 2 display profile with the given red and green colorants (XYZ D50), sRGB's blue, and gamma 2.2."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"rXYZ": xyz(red), b"gXYZ": xyz(green)}
    tags |= {b"bXYZ": xyz((0.1431, 0.0606, 0.7141)), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_each_kind_decodes_by_its_bytes(kind: str) -> None:
    photo = decoded(saved(corners(), kind, **({} if kind == "PNG" else {"quality": 95})))
    assert photo.shape == (64, 96, 3)
    assert np.abs(photo[8, 8].astype(int) - CORNERS["red"]).max() < 6
    assert np.abs(photo[50, 80].astype(int) - CORNERS["white"]).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    upright = corners()
    # how a camera held that way stores it: the inverse of what EXIF asks viewers to do
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decoded(saved(stored, kind, exif=exif.tobytes(), **({"quality": 95} if kind != "PNG" else {})))
    assert photo.shape == (64, 96, 3)
    # a blurred chroma edge differs; whole quarters must not
    assert np.abs(photo.astype(int) - np.asarray(upright)).mean() < 3


@pytest.mark.parametrize(("mode", "tolerance"), [("L", 1), ("1", 0), ("P", 0), ("RGBA", 0), ("LA", 1), ("I;16", 1)])
def test_every_png_mode_becomes_rgb(mode: str, tolerance: int) -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    if mode == "1":
        ramp = np.where(ramp < 128, 0, 255).astype(np.uint8)
    deep = mode == "I;16"
    source = Image.fromarray(ramp.astype(np.uint16) * 257) if deep else Image.fromarray(ramp).convert(mode)
    photo = decoded(saved(source))
    assert np.abs(photo.astype(int) - ramp[..., None]).max() <= tolerance


def test_deep_rgb_keeps_its_high_bytes() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 40, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    photo = decoded(png(40, 40, 16, 2, rows))
    assert np.abs(photo.astype(int) - pixels / 257).max() <= 1


def test_cmyk_without_a_profile() -> None:
    photo = decoded(saved(corners().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(photo[8, 8].astype(int) - CORNERS["red"]).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_composited_on_the_neutral(kind: str) -> None:
    picture = corners().convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 48, 64))
    alpha.paste(128, (48, 0, 96, 32))
    picture.putalpha(alpha)
    photo = decoded(saved(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert tuple(photo[30, 10]) == NEUTRAL
    half = (np.array(CORNERS["green"]) * 128 + np.array(NEUTRAL) * 127) / 255
    assert np.abs(photo[8, 80] - half).max() <= 1
    assert tuple(photo[60, 90]) == CORNERS["white"]


def test_palette_and_colour_key_transparency() -> None:
    palette = corners().quantize(4)
    keyed = decoded(saved(palette, transparency=palette.getpixel((4, 4))))
    assert tuple(keyed[4, 4]) == NEUTRAL and tuple(keyed[60, 90]) == CORNERS["white"]
    keyed = decoded(saved(corners(), transparency=CORNERS["blue"]))
    assert tuple(keyed[60, 4]) == NEUTRAL and tuple(keyed[4, 4]) == CORNERS["red"]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert np.abs(decoded(data)[32, 32].astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_wide_gamut_profiles_are_converted(kind: str) -> None:
    """In a profile with red and green exchanged, what is stored as green is meant as red."""
    srgb_red, srgb_green = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971)
    green = Image.new("RGB", (64, 64), (0, 200, 0))
    exchanged = decoded(saved(green, kind, icc_profile=matrix_profile(srgb_green, srgb_red)))
    assert np.abs(exchanged[9, 9].astype(int) - (200, 0, 0)).max() < 12
    plain = decoded(saved(green, kind, icc_profile=matrix_profile(srgb_red, srgb_green)))
    assert np.abs(plain[9, 9].astype(int) - (0, 200, 0)).max() < 12


@pytest.mark.parametrize("profile", [b"not a profile", matrix_profile((1, 1, 1), (0, 1, 0))[:200]])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    assert np.array_equal(decoded(saved(corners(), icc_profile=profile)), np.asarray(corners()))


def test_long_sides_are_brought_down() -> None:
    photo = decoded(saved(corners(6000, 3000)))
    assert photo.shape == (2048, 4096, 3)
    photo = decoded(saved(corners(8200, 400), "JPEG"))  # through the decoder's own half size
    assert photo.shape == (200, 4096, 3)
    assert np.abs(photo[50, 100].astype(int) - CORNERS["red"]).max() < 8


def jpeg_of_scans(scans: int) -> bytes:
    """A JPEG whose last scan is repeated until it has ``scans`` of them."""
    data = saved(corners(), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    body = data[first:-2]
    last = body[body.rindex(b"\xff\xda") :]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", "IMAGE_EMPTY", "JPEG, PNG and WebP"),
        (b"\xff\xd8\xff" + bytes(MAX_FILE_BYTES), "IMAGE_TOO_LARGE", "at most 20 MB"),
        (saved(corners(), "GIF"), "IMAGE_WRONG_TYPE", "a GIF; JPEG, PNG and WebP"),
        (saved(corners(), "TIFF"), "IMAGE_WRONG_TYPE", "a TIFF"),
        (saved(corners(), "BMP"), "IMAGE_WRONG_TYPE", "a BMP"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "IMAGE_WRONG_TYPE", "a HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "IMAGE_WRONG_TYPE", "an SVG drawing"),
        (b"hello", "IMAGE_WRONG_TYPE", "no picture that we know"),
        (b"\xff\xd8\xff", "IMAGE_UNDECODABLE", "JPEG file is damaged"),
        (b"\x89PNG\r\n\x1a\n", "IMAGE_UNDECODABLE", "PNG file is damaged"),
        (b"RIFF\x10\0\0\0WEBP", "IMAGE_UNDECODABLE", "WebP file is damaged"),
        (saved(corners(), "JPEG")[:700], "IMAGE_UNDECODABLE", "damaged or cut short"),
        (saved(corners())[:-40], "IMAGE_UNDECODABLE", "damaged or cut short"),
        (saved(corners(), "WEBP")[:-40], "IMAGE_UNDECODABLE", "damaged or cut short"),
        (png(40, 40, 8, 0, b"", (b"IDAT", b"no zlib stream")), "IMAGE_UNDECODABLE", "PNG"),
        (jpeg_of_scans(upload.MAX_SCANS + 1), "IMAGE_UNDECODABLE", "JPEG"),
        (png(10_000, 5_001, 8, 0, b""), "IMAGE_TOO_MANY_PIXELS", "at most 50 million"),
        (saved(corners(31, 200)), "IMAGE_TOO_SMALL", "at least 32"),
        (saved(corners(20_000, 40)), "IMAGE_TOO_SMALL", "128 times"),
    ],
    ids=range(19),
)
def test_bad_uploads_are_refused_with_a_sentence(data: bytes, reason: str, says: str) -> None:
    error = refusal(data)
    assert error.reason == reason and says in error.message


def test_many_honest_scans_are_fine() -> None:
    assert decoded(saved(corners(), "JPEG", progressive=True)).shape == (64, 96, 3)


BOMB = """
import sys
from lensora.core.engines import NullContext
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.photo import decode
from tests.weight import weighing
data = sys.stdin.buffer.read()
with weighing() as weight:
    try:
        decode(data, NullContext())
    except InvalidArgument as error:
        print(error.reason)
print(weight.grown)
"""
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_bomb_costs_no_memory(kind: str) -> None:
    """52 million real pixels in a small file, and the resident peak does not move."""
    side = 7_200
    options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 1}, "PNG": {}, "WEBP": {"lossless": True, "method": 0}}
    data = saved(Image.new("RGB", (side, side)), kind, **options[kind])
    assert len(data) < 2_000_000
    done = subprocess.run([sys.executable, "-c", BOMB], input=data, capture_output=True, check=True, cwd=ROOT)
    reason, grown = done.stdout.split()
    assert reason == b"IMAGE_TOO_MANY_PIXELS" and float(grown) < 4


def test_pillows_switches_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decoded(saved(corners()))
    refusal(saved(corners())[:-40])
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_the_same_bytes_give_the_same_photo() -> None:
    data = saved(corners(), "JPEG")
    assert np.array_equal(decoded(data), decoded(data))


def test_cancelling_is_noticed() -> None:
    class Gone(NullContext):
        def check(self) -> None:
            raise Cancelled("gone")

    with pytest.raises(Cancelled):
        decode(saved(corners()), Gone())


SEEDS = [
    saved(corners(), kind, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    for kind in ("JPEG", "PNG", "WEBP")
]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(SEEDS), st.data())
def test_mangled_files_decode_or_are_refused(seed: bytes, data: st.DataObject) -> None:
    mangled = bytearray(seed[: data.draw(st.integers(12, len(seed)))])
    for at in data.draw(st.lists(st.integers(3, len(mangled) - 1), max_size=6)):
        mangled[at] = data.draw(st.integers(0, 255))
    try:
        photo = decode(bytes(mangled), NullContext())
    except InvalidArgument as error:
        assert error.reason.startswith("IMAGE_")
    else:
        assert min(photo.shape[:2]) >= upload.MIN_SIDE and max(photo.shape[:2]) <= upload.MAX_SIDE
