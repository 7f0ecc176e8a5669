"""Where a photo was taken stays in the file it came in: what the service hands on holds pixels and nothing else."""

from __future__ import annotations

import io
import struct
from typing import Any, cast

import grpc
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lensora.core import models
from lensora.core.blobs import BlobAccess, sha256_hex
from lensora.detect.v1 import detect_pb2
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.stage import Stage
from lensora.type.v1 import blob_pb2
from services.detect.servicer import DetectServicer
from services.detect.settings import Settings

NEEDED = [model.name for model in models.MODELS.values() if "detect" in model.stages]
pytestmark = pytest.mark.skipif(
    any(models.status(name) != "present" for name in NEEDED), reason=f"run: lensora models fetch {' '.join(NEEDED)}"
)
GPS, PLACE = 0x8825, "Pariser Platz, Berlin"


def tagged(kind: str) -> bytes:
    """A photo that says where it was taken, in every way that its kind of file has."""
    noise = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = PLACE  # description and user comment
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 30.0, 58.68), 3: "E", 4: (13.0, 22.0, 39.72), 27: PLACE.encode()})
    extra: dict[str, Any] = {"exif": exif, "xmp": f"<x:xmpmeta>{PLACE}</x:xmpmeta>".encode()}
    if kind == "JPEG":
        extra["comment"] = PLACE
    if kind == "PNG":
        extra = {"exif": exif, "pnginfo": PngInfo()}
        extra["pnginfo"].add_text("Location", PLACE)
        extra["pnginfo"].add_itxt("XML:com.adobe.xmp", PLACE)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **extra)
    return file.getvalue()


class Call:
    """As much of a gRPC context as is looked at."""

    def time_remaining(self) -> None:
        """No deadline."""


def chunk_names(png: bytes) -> set[bytes]:
    """The kinds of chunks in a PNG file, which must be whole."""
    names, at = set(), 8
    while at < len(png):
        length, name = struct.unpack_from(">I4s", png, at)
        names.add(name)
        at += length + 12
    assert at == len(png), "nothing behind the end"
    return names


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_the_normalised_photo_tells_no_place(kind: str) -> None:
    image = tagged(kind)
    assert PLACE.encode() in image
    assert Image.open(io.BytesIO(image)).getexif().get_ifd(GPS)[4] == (13.0, 22.0, 39.72)
    runner = ThreadRunner("detect", Settings(), "services.detect.engines")
    await runner.start()
    try:
        servicer = DetectServicer(Stage(runner, BlobAccess("file:///nowhere/")))
        request = detect_pb2.DetectObjectsRequest(
            image=blob_pb2.Blob(inline=image, sha256=sha256_hex(image), size=len(image))
        )
        context = cast("grpc.aio.ServicerContext[Any, Any]", Call())
        responses = [response async for response in servicer.DetectObjects(request, context)]
    finally:
        await runner.stop()
    photo = responses[-1].result.photo.inline
    assert (responses[-1].result.width, responses[-1].result.height) == (128, 96)
    assert chunk_names(photo) == {b"IHDR", b"IDAT", b"IEND"}
    assert PLACE.encode() not in responses[-1].SerializeToString()
    opened = Image.open(io.BytesIO(photo))
    assert not opened.getexif() and not opened.info
