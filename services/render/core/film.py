"""The film files: H.264 in MP4, VP9 with alpha in WebM, each encoded on a thread while the next frame is drawn."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from services.render.engine import FRAMES_PER_SECOND

_QUEUED = 4
"""Frames that may wait for the encoder: enough to smooth both sides, little memory."""

_BT709, _LIMITED = 1, 1
"""ITU-T H.273 code points of the primaries, transfer and matrix; and FFmpeg's number of the limited range."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file, in FFmpeg's words."""

    container: str
    codec: str
    pixels: str
    container_options: Mapping[str, str]
    options: Mapping[str, str]


MP4 = Format(
    "mp4",
    "libx264",
    "yuv420p",
    {"movflags": "+faststart", "fflags": "+bitexact"},
    {
        "profile": "high",
        "preset": "veryfast",
        "crf": "18",
        # frames depend on the number of x264's threads, so it is part of the format and not of the machine
        "threads": "2",
        "x264-params": "open-gop=0:keyint=48:bframes=2",
    },
)
"""H.264 High for every browser."""

WEBM_ALPHA = Format(
    "webm",
    "libvpx-vp9",
    "yuva420p",
    {"fflags": "+bitexact"},
    {
        "crf": "24",
        "b": "0",
        "deadline": "good",
        "cpu-used": "5",
        "threads": "2",
        "row-mt": "0",
        "g": "48",
        "auto-alt-ref": "0",  # frames that are never shown have no alpha to go with
    },
)
"""VP9, its alpha in a second stream of the same blocks, as Chromium and Firefox play it."""


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture as H.264 takes it: ITU-R BT.709, limited range, 8 bit, top row first."""

    luma: NDArray[np.uint8]
    """(h, w)."""

    blue_difference: NDArray[np.uint8]
    """(h / 2, w / 2), Cb, sited left as H.264 expects."""

    red_difference: NDArray[np.uint8]
    """(h / 2, w / 2), Cr."""

    alpha: NDArray[np.uint8] | None = None
    """(h, w), full range, straight: the colours are not multiplied by it; None where the picture is opaque."""


class FilmWriter:
    """Collects frames into a file; use as a context manager, then call ``result``.

    The bytes depend on the frames alone: no dates, no identifiers, a fixed number of encoder threads.
    """

    def __init__(self, width: int, height: int, form: Format = MP4) -> None:
        self._size = (width, height)
        self._form = form
        self._queue: queue.Queue[Planes | None] = queue.Queue(_QUEUED)
        self._ended = False
        self._broken = threading.Event()
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="film")
        self._film = self._encoder.submit(self._encode)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, planes: Planes) -> None:
        """Queue the next frame; waits while the encoder is behind.

        Raises whatever made the encoder fail.
        """
        if self._broken.is_set():
            self._close()
            self._film.result()
        self._queue.put(planes)

    def result(self) -> bytes:
        """The whole file, once the writer is closed; raises whatever made the encoder fail."""
        return self._film.result()

    def _close(self) -> None:
        self._queue.put(None)
        self._encoder.shutdown()

    def _frames(self) -> Iterator[Planes]:
        while not self._ended:
            planes = self._queue.get()
            if planes is None:
                self._ended = True
            else:
                yield planes

    def _encode(self) -> bytes:
        try:
            # FFmpeg reopens the file to move its index to the front, which it cannot do with a Python object
            with tempfile.TemporaryDirectory(prefix="lensora-film-") as folder:
                path = Path(folder) / "film"
                self._write(path)
                return path.read_bytes()
        except BaseException:
            self._broken.set()
            for _ in self._frames():  # or add() would wait for room for ever
                pass
            raise

    def _write(self, path: Path) -> None:
        form = self._form
        with av.open(str(path), "w", format=form.container, options=dict(form.container_options)) as container:
            # its type is known to the stubs by the codec's literal name only
            stream: Any = container.add_stream(form.codec, rate=FRAMES_PER_SECOND, options=dict(form.options))
            stream.width, stream.height = self._size
            stream.pix_fmt = form.pixels
            coder = stream.codec_context
            coder.time_base = Fraction(1, FRAMES_PER_SECOND)
            coder.color_primaries = coder.color_trc = coder.colorspace = _BT709
            coder.color_range = _LIMITED
            for number, planes in enumerate(self._frames()):
                container.mux(stream.encode(self._frame(planes, number)))
            container.mux(stream.encode(None))

    def _frame(self, planes: Planes, number: int) -> av.VideoFrame:
        frame = av.VideoFrame(*self._size, self._form.pixels)
        frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
        frame.colorspace, frame.color_range = _BT709, _LIMITED
        pictures = [planes.luma, planes.blue_difference, planes.red_difference]
        if planes.alpha is not None:
            pictures.append(planes.alpha)
        for plane, values in zip(frame.planes, pictures, strict=True):
            rows, columns = values.shape
            padded = np.zeros((rows, plane.line_size), np.uint8)
            padded[:, :columns] = values
            plane.update(padded.tobytes())
        return frame
