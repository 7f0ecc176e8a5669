"""The film with alpha: read back, and laid over other things."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from services.render.engine import RenderRequest, RenderResult
from services.render.engines.embedded import EmbeddedEngine

Planes = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def request_(kit: SimpleNamespace) -> RenderRequest:
    """A red box on a grey stage for half a second."""
    glb = kit.make_glb(kit.box(1, 1, 1, {"+z": (0.8, 0.05, 0.05)}))
    return RenderRequest(glb, kit.make_scene(key=6.0), "dolly", 256, 256, duration_s=0.5, alpha=True)


@pytest.fixture(scope="module")
def result(engine: EmbeddedEngine, request_: RenderRequest) -> RenderResult:
    return engine.run(request_, NullContext())


def _decoded(data: bytes) -> list[Planes]:
    """Y, Cb, Cr and alpha of every frame, by libvpx: FFmpeg's own VP9 decoder leaves the alpha out."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet)]
    assert all(frame.format.name == "yuva420p" for frame in frames)
    return [
        [np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
        for frame in frames
    ]


def test_what_the_webm_promises(result: RenderResult) -> None:
    with av.open(io.BytesIO(result.alpha_video or b""), "r") as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert container.format.name == "matroska,webm"
        assert (stream.codec_context.name, stream.metadata["alpha_mode"]) == ("vp9", "1")
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        assert stream.average_rate == 24
        assert len([packet for packet in container.demux(stream) if packet.size]) == 12


def test_alpha_is_the_subject_and_its_shadow_and_nothing_else(kit: SimpleNamespace, result: RenderResult) -> None:
    scene = kit.make_scene()
    half = scene.subject_height / 2
    place = scene.camera.project(np.array([[half + 0.03, 0.0, -0.02]]), 256, 256)[0].astype(int)
    frames = _decoded(result.alpha_video or b"")
    assert len(frames) == 12
    _, _, red_difference, alpha = frames[0]
    assert alpha[100:150, 110:146].min() >= 253, "the subject is opaque"
    assert alpha[:20].max() <= 2, "nothing above it"
    assert 60 < alpha[place[1], place[0]] < 250, "its shadow is half there"
    assert red_difference[55:70, 58:70].mean() > 160, "its red is its own"
    assert (frames[-1][3] > 250).sum() > 1.6 * (alpha > 250).sum(), "it grows as in the other film"


def test_over_the_plate_it_looks_like_the_film(kit: SimpleNamespace, result: RenderResult) -> None:
    """Blended over the plate's luma it gives back the MP4's to within what both codecs lose."""
    luma, _, _, alpha = (plane.astype(float) for plane in _decoded(result.alpha_video or b"")[0])
    with av.open(io.BytesIO(result.video), "r") as container:
        first = next(container.decode(video=0))
        wanted = np.frombuffer(bytes(first.planes[0]), np.uint8).reshape(256, -1)[:, :256].astype(float)
    plate = 16 + kit.make_scene().plate[..., 1] * (219 / 255)
    share = alpha / 255
    difference = np.abs(luma * share + plate * (1 - share) - wanted)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) < 10


def test_it_costs_the_other_film_nothing_and_repeats(
    engine: EmbeddedEngine, request_: RenderRequest, result: RenderResult
) -> None:
    again = engine.run(request_, NullContext())
    assert again.alpha_video == result.alpha_video
    without = engine.run(replace(request_, alpha=False), NullContext())
    assert (without.video, without.alpha_video) == (result.video, None)
