"""What people send by mistake, or with intent: row by row, what is answered.

What is wrong in the bytes of an upload is told by detection, which alone decodes what strangers send. Elsewhere: wrong
fields of an order in ``tests/contract/test_create_job.py``, a lost disk or model in
``tests/unit/runtime/test_fitness.py``, and all of it through six processes in ``tests/e2e/test_failures.py``.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lensora.core import engines, models
from lensora.core.errors import FailedPrecondition, InvalidArgument
from lensora.core.photo import decode
from services.detect.engine import DetectEngine, DetectRequest
from services.detect.settings import Settings as DetectSettings
from services.segment.engine import SegmentEngine, SegmentRequest
from services.segment.settings import Settings as SegmentSettings
from tests.weight import weighing

ACCEPTED = "JPEG, PNG and WebP are accepted"
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 40), (30, 40, 210), (250, 250, 250)


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Red and green over blue and white."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    picture.paste(WHITE, (width // 2, height // 2, width, height))
    return picture


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("page.html", "<script>alert(1)</script>")
    return file.getvalue()


PNG, JPEG, WEBP, GIF = (saved(quarters(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF"))
SVG = b'<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'
HTML = b"<!DOCTYPE html>\n<html><body>a picture of a cat</body></html>"
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF"
JPEG_AND_PDF = JPEG[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(PDF)) + PDF + JPEG[2:]

NOT_A_PICTURE = {
    "SVG": (SVG, "an SVG drawing"),
    "bare SVG": (b"<svg/>", "an SVG drawing"),
    "HTML": (HTML, "an HTML page"),
    "HTML without a doctype": (b"\xef\xbb\xbf \n<!-- hi --><HTML>", "an HTML page"),
    "XML": (b'<?xml version="1.0"?><note/>', "a text document"),
    "PDF": (PDF, "a PDF"),
    "PDF renamed to .jpg": (PDF + b"\xff\xd9", "a PDF"),
    "ZIP": (zipped(), "a ZIP archive"),
    "GIF renamed to .png": (GIF, "a GIF"),
    "GIF that is a page too": (GIF + HTML, "a GIF"),
    "words": (b"this is a photo, really", "no picture that we know"),
    "zeros": (bytes(4000), "no picture that we know"),
}


def refusal(data: bytes) -> InvalidArgument:
    """Of an upload: one field, one rule."""
    with pytest.raises(InvalidArgument) as caught:
        decode(data, engines.NullContext())
    (violation,) = caught.value.violations
    assert violation.field == "image" and caught.value.message == f"image: {violation.description}"
    return caught.value


@pytest.mark.parametrize("name", NOT_A_PICTURE)
def test_another_kind_of_file_is_named_and_so_is_what_is_accepted(name: str) -> None:
    data, looks = NOT_A_PICTURE[name]
    error = refusal(data)
    assert error.reason == "IMAGE_WRONG_TYPE"
    assert f"looks like {looks}" in error.message and ACCEPTED in error.message


POLYGLOTS = {
    "PNG and HTML": (PNG + HTML, "a PNG and an HTML page"),
    "PNG and a script": (PNG + b"\n<script>alert(1)</script>", "a PNG and an HTML page"),
    "PNG and SVG": (PNG + SVG, "a PNG and an SVG drawing"),
    "PNG and ZIP": (PNG + zipped(), "a PNG and a ZIP archive"),
    "JPEG and ZIP": (JPEG + zipped(), "a JPEG and a ZIP archive"),
    "JPEG with a ZIP far behind it": (JPEG + bytes(5000) + zipped(), "a JPEG and a ZIP archive"),
    "JPEG with a PDF in a comment": (JPEG_AND_PDF, "a JPEG and a PDF"),
    "JPEG and PDF": (JPEG + PDF, "a JPEG and a PDF"),
    "JPEG and HTML": (JPEG + HTML, "a JPEG and an HTML page"),
    "WebP and HTML": (WEBP + HTML, "a WebP and an HTML page"),
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_two_kinds_of_file_at_once(name: str) -> None:
    data, both = POLYGLOTS[name]
    error = refusal(data)
    assert error.reason == "IMAGE_POLYGLOT"
    assert f"{both} at once" in error.message and "send the picture alone" in error.message
    assert ACCEPTED in error.message


@pytest.mark.parametrize(
    "appended",
    [JPEG, b"\0\0\0\x18ftypmp42" + bytes(100), b"SEFH" + bytes(60), bytes(16), b"PK\x05\x06"],
    ids=["a further picture", "a motion photo's film", "a phone's trailer", "padding", "chance"],
)
def test_what_phones_append_is_no_fault(appended: bytes) -> None:
    whole = decode(JPEG, engines.NullContext())
    assert np.array_equal(decode(JPEG + appended, engines.NullContext()), whole)


@pytest.mark.parametrize(("kind", "data"), [("JPEG", JPEG), ("PNG", PNG), ("WebP", WEBP)])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_truncated_file(kind: str, data: bytes, share: float) -> None:
    error = refusal(data[: int(len(data) * share)])
    assert error.reason == "IMAGE_UNDECODABLE"
    assert f"the {kind} file is damaged or cut short" in error.message and "send the whole file" in error.message


def test_an_empty_file() -> None:
    error = refusal(b"")
    assert error.reason == "IMAGE_EMPTY" and ACCEPTED in error.message


def test_more_than_20_megabytes() -> None:
    error = refusal(JPEG + bytes(21_000_000))
    assert error.reason == "IMAGE_TOO_LARGE" and "21.0 MB; at most 20 MB" in error.message


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_bomb(width: int, height: int) -> bytes:
    """Says it is huge, and unpacks to a lot: 128 MiB in 128 KiB."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    zeros = zlib.compressobj(9)
    rows = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(1 << 7)) + zeros.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """65,500 pixels a side, in the header only."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", 65500, 65500) + JPEG[at + 9 :]


def webp_bomb() -> bytes:
    """A canvas of 16,384 pixels a side around a small picture: a decoder sets it up before it looks further."""
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + (16383).to_bytes(3, "little") * 2
    body = b"WEBP" + canvas + WEBP[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_a_bomb_is_refused_from_its_header_and_memory_stays_flat(kind: str) -> None:
    """In a process of its own, which nothing else has made large."""
    program = "from tests.integration.test_bad_input import *; weigh(sys.stdin.buffer.read())"
    bomb = {"PNG": lambda: png_bomb(18_000, 20_000), "JPEG": jpeg_bomb, "WebP": webp_bomb}[kind]()
    assert len(bomb) < 2_000_000
    done = subprocess.run([sys.executable, "-c", program], input=bomb, capture_output=True, check=True)
    reason, grown = done.stdout.split()
    assert reason == b"IMAGE_TOO_MANY_PIXELS" and float(grown) < 4


def weigh(data: bytes) -> None:
    """Print the reason of a refusal, and by how much the peak of memory grew meanwhile."""
    refusal(PNG + b"<html>")  # all that is loaded at first use
    with weighing() as weight:
        reason = refusal(data).reason
    sys.stdout.write(f"{reason} {weight.grown}")


def deep_png() -> bytes:
    """16 bits a channel, which Pillow cannot write."""
    done, data = cv2.imencode(".png", np.asarray(quarters())[..., ::-1].astype(np.uint16) * 257)
    assert done
    return data.tobytes()


def transparent() -> Image.Image:
    """The quarters on a clear border."""
    picture = Image.new("RGBA", (160, 128), (0, 0, 0, 0))
    picture.paste(quarters(), (32, 32))
    return picture


def sideways() -> bytes:
    """As a phone held upright stores it: the pixels lie, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(quarters().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile() -> bytes:
    """Display P3: sRGB's curve and white, and redder and greener primaries (SMPTE EG 432-1, adapted to D50)."""
    profile = bytearray(srgb_profile())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for name, values in primaries.items():
        entry = profile.index(name, 128)
        at = int.from_bytes(profile[entry + 4 : entry + 8], "big") + 8
        profile[at : at + 12] = struct.pack(">3i", *(round(value * 65536) for value in values))
    return bytes(profile)


ODD_BUT_FINE = {
    "16 bits a channel": deep_png(),
    "CMYK": saved(quarters().convert("CMYK"), "JPEG", quality=95),
    "palette": saved(quarters().quantize(8), "PNG"),
    "alpha": saved(transparent().crop((32, 32, 128, 96)), "PNG"),
    "animated WebP": saved(quarters(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 64))], quality=95),
    "EXIF-rotated": sideways(),
    "sRGB profile": saved(quarters(), "PNG", icc_profile=srgb_profile()),
    "progressive": saved(quarters(), "JPEG", progressive=True, quality=95),
}


@pytest.mark.parametrize("name", ODD_BUT_FINE)
def test_odd_files_come_out_upright_and_in_their_colours(name: str) -> None:
    photo = decode(ODD_BUT_FINE[name], engines.NullContext())
    assert photo.shape == (64, 96, 3)
    for place, colour in (((12, 12), RED), ((12, 84), GREEN), ((52, 12), BLUE), ((52, 84), WHITE)):
        assert np.abs(photo[place].astype(int) - colour).max() <= 14, (place, photo[place])


def test_grey_stays_grey() -> None:
    ramp = Image.linear_gradient("L").resize((96, 64))
    photo = decode(saved(ramp, "PNG"), engines.NullContext())
    assert np.array_equal(photo, np.asarray(ramp)[..., None].repeat(3, axis=2))


def test_what_is_clear_is_neutral() -> None:
    photo = decode(saved(transparent(), "PNG"), engines.NullContext())
    assert photo.shape == (128, 160, 3) and photo[5, 5].tolist() == [128, 128, 128]
    assert np.array_equal(photo[32:96, 32:128], np.asarray(quarters()))


def test_wide_colours_are_brought_to_srgb() -> None:
    """Values from the definition of the two spaces: sRGB's red, green and mid colours as Display P3 stores them."""
    stored = {(234, 51, 35): (255, 0, 0), (117, 251, 76): (0, 255, 0), (128, 128, 128): (128, 128, 128)}
    for given, wanted in stored.items():
        data = saved(Image.new("RGB", (64, 64), given), "PNG", icc_profile=wide_profile())
        seen = decode(data, engines.NullContext())[32, 32]
        assert np.abs(seen.astype(int) - wanted).max() <= 4, (given, seen)


NOISE = np.random.default_rng(7)


def fine(*size: int) -> NDArray[np.uint8]:
    return np.asarray(NOISE.integers(0, 256, (*size, 3), dtype=np.uint8))


NO_SUBJECT: dict[str, NDArray[np.uint8]] = {
    "black": np.zeros((200, 300, 3), np.uint8),
    "white": np.full((64, 64, 3), 255, np.uint8),
    "one colour": np.full((400, 300, 3), (200, 20, 20), np.uint8),
    "noise": fine(320, 320),
    "small noise": fine(200, 200),
    "large noise": fine(640, 900),
    "coarse noise": np.kron(fine(160, 160), np.ones((4, 4, 1), np.uint8)),
    "grey noise": NOISE.integers(0, 256, (300, 300, 1), dtype=np.uint8).repeat(3, axis=2),
    "faint noise": (128 + NOISE.normal(0, 4, (256, 256, 3))).astype(np.uint8),
    "a plain sky": np.linspace(150, 220, 300).astype(np.uint8)[:, None, None].repeat(400, 1).repeat(3, 2),
}

NEEDED = [model.name for model in models.MODELS.values() if {"detect", "segment"} & set(model.stages)]
needs_models = pytest.mark.skipif(
    any(models.status(name) != "present" for name in NEEDED), reason=f"run: lensora models fetch {' '.join(NEEDED)}"
)


@pytest.fixture(scope="module")
def detector() -> DetectEngine:
    return engines.load("services.detect.engines", "embedded", DetectSettings())


@pytest.fixture(scope="module")
def cutter() -> SegmentEngine:
    return engines.load("services.segment.engines", "embedded", SegmentSettings())


@needs_models
@pytest.mark.parametrize("name", NO_SUBJECT)
def test_a_photo_of_nothing_ends_in_a_typed_error(detector: DetectEngine, cutter: SegmentEngine, name: str) -> None:
    """Whatever is proposed in it (the detector takes noise for an umbrella), and above all the whole."""
    upload = saved(Image.fromarray(NO_SUBJECT[name]), "PNG")
    found = detector.run(DetectRequest(upload), engines.NullContext())
    assert found.proposals[-1].category == "full_frame"
    for proposal in found.proposals:
        request = SegmentRequest(found.photo, proposal.box, keep_all_parts=proposal.category == "full_frame")
        with pytest.raises(FailedPrecondition, match="nothing in the chosen box stands out") as caught:
            cutter.run(request, engines.NullContext())
        assert caught.value.reason == "NO_SUBJECT" and "choose another box, or a photo" in caught.value.message


def test_one_pixel() -> None:
    error = refusal(saved(Image.new("RGB", (1, 1)), "PNG"))
    assert error.reason == "IMAGE_TOO_SMALL" and "no subject can be found in 1 x 1 pixels; each side" in error.message
