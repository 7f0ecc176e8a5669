"""The finished file, read back, and the engine's promises about it."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import get_args

import av
import numpy as np
import pytest

from lensora.core.engines import NullContext
from lensora.core.errors import Cancelled, InvalidArgument
from services.render.core.film import FilmWriter, Planes
from services.render.engine import CameraPreset, RenderRequest
from services.render.engines.embedded import EmbeddedEngine

PRESETS: tuple[CameraPreset, ...] = get_args(CameraPreset)
_RED, _BLUE = (0.8, 0.05, 0.05), (0.05, 0.05, 0.8)


class Recorder(NullContext):
    """Keeps the progress; calls the work off after ``limit`` reports."""

    def __init__(self, limit: int = 10**9) -> None:
        self.reports: list[tuple[float, str]] = []
        self.limit = limit

    def progress(self, fraction: float, phase: str = "") -> None:
        self.reports.append((fraction, phase))
        if len(self.reports) >= self.limit:
            raise Cancelled("enough")


@pytest.fixture(scope="module")
def request_(kit: SimpleNamespace) -> RenderRequest:
    """A box, red in front and blue behind, for half a second."""
    glb = kit.make_glb(kit.box(1.2, 1, 0.9, {"+z": _RED, "-z": _BLUE}))
    return RenderRequest(glb, kit.make_scene(), width=256, height=256, duration_s=0.5)


@pytest.fixture(scope="module")
def films(engine: EmbeddedEngine, request_: RenderRequest) -> dict[CameraPreset, bytes]:
    return {preset: engine.run(replace(request_, preset=preset), NullContext()).video for preset in PRESETS}


@pytest.fixture(scope="module")
def video(films: dict[CameraPreset, bytes]) -> bytes:
    return films["turntable"]


def test_the_turntable_shows_the_front_first_and_the_back_half_way(kit: SimpleNamespace, video: bytes) -> None:
    frames = [frame[110:150, 118:138].reshape(-1, 3).mean(axis=0) for frame in kit.decode_film(video)]
    assert len(frames) == 12
    assert frames[0][0] > 2 * frames[0][2], "red faces the camera"
    assert frames[6][2] > 2 * frames[6][0], "blue faces the camera"
    assert frames[3][0] == pytest.approx(frames[3][2], abs=15), "the grey side"


def test_the_loop_closes(kit: SimpleNamespace, engine: EmbeddedEngine) -> None:
    """The step from the last frame to the first is like any other."""
    ball = kit.make_glb(kit.box(1, 1, 1))
    request = RenderRequest(ball, kit.make_scene(), width=256, height=256, duration_s=1.0)
    frames = [frame.astype(int) for frame in kit.decode_film(engine.run(request, NullContext()).video)]
    steps = [np.abs(one - other).mean() for one, other in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert min(steps) > 0
    assert steps[-1] < 1.5 * np.median(steps)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_file_promises(films: dict[CameraPreset, bytes], preset: CameraPreset) -> None:
    video = films[preset]
    with av.open(io.BytesIO(video), "r") as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        coder = stream.codec_context
        assert (coder.name, coder.profile, coder.pix_fmt) == ("h264", "High", "yuv420p")
        assert (coder.color_primaries, coder.color_trc, coder.colorspace, coder.color_range) == (1, 1, 1, 1)
        assert stream.average_rate == stream.base_rate == 24
        tick = stream.time_base or Fraction()
        assert (stream.duration or 0) * tick == Fraction(1, 2)
        times = [packet.pts or 0 for packet in container.demux(stream) if packet.size]
    assert (np.diff(sorted(times)) * tick == Fraction(1, 24)).all()
    assert len(times) == 12
    boxes, at = [], 0
    while at < len(video):
        boxes.append(video[at + 4 : at + 8])
        at += int.from_bytes(video[at : at + 4], "big")
    assert boxes.index(b"moov") < boxes.index(b"mdat")
    assert b"open_gop=0" in video


def test_groups_of_pictures_are_closed(kit: SimpleNamespace) -> None:
    """No frame that is stored after a key frame is shown before it."""
    generator = np.random.default_rng(1)
    with FilmWriter(64, 64) as film:
        for _ in range(120):
            small = generator.integers(16, 235, (3, 32, 32)).astype(np.uint8)
            film.add(Planes(np.kron(small[0], np.ones((2, 2), np.uint8)), small[1], small[2]))
    with av.open(io.BytesIO(film.result()), "r") as container:
        packets = [(packet.pts or 0, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    keys = [number for number, (_, is_key) in enumerate(packets) if is_key]
    assert len(keys) >= 3
    for key in keys:
        assert all(time > packets[key][0] for time, _ in packets[key + 1 :])
    assert len(kit.decode_film(film.result())) == 120


def test_colours_survive_to_within_two_levels(kit: SimpleNamespace, engine: EmbeddedEngine) -> None:
    colors = np.array(
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 120, 60)]
    )
    plate = np.zeros((256, 448, 3), np.uint8)
    for number, color in enumerate(colors):
        plate[:, 64 * number : 64 * (number + 1)] = color
    request = RenderRequest(
        kit.make_glb(kit.box(1, 1, 1)), kit.make_scene(plate=plate), width=448, height=256, duration_s=0.25
    )
    for frame in kit.decode_film(engine.run(request, NullContext()).video):
        seen = np.array([frame[24, 64 * number + 32] for number in range(len(colors))]).astype(int)
        np.testing.assert_allclose(seen, colors, atol=2)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_request_gives_the_same_bytes(
    engine: EmbeddedEngine, request_: RenderRequest, films: dict[CameraPreset, bytes], preset: CameraPreset
) -> None:
    assert engine.run(replace(request_, preset=preset), NullContext()).video == films[preset]


def test_progress_is_told_for_every_frame(engine: EmbeddedEngine, request_: RenderRequest) -> None:
    recorder = Recorder()
    result = engine.run(request_, recorder)
    assert recorder.reports == [((number + 1) / 12, "rendering-video") for number in range(12)]
    assert (result.frames, result.arc_degrees, result.clamped, result.front_yaw_degrees) == (12, 360.0, False, 0.0)


def test_a_cancelled_run_stops_its_encoder_and_the_engine_goes_on(
    engine: EmbeddedEngine, request_: RenderRequest, video: bytes
) -> None:
    with pytest.raises(Cancelled):
        engine.run(request_, Recorder(limit=3))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("film")]
    assert engine.run(request_, NullContext()).video == video


def test_a_slab_rocks(kit: SimpleNamespace, engine: EmbeddedEngine) -> None:
    glb = kit.make_glb(kit.box(1, 1, 0.1, {"+z": _RED, "-z": _BLUE}))
    request = RenderRequest(glb, kit.make_scene(), width=256, height=256, duration_s=0.5)
    result = engine.run(request, NullContext())
    assert (result.arc_degrees, result.clamped) == (120.0, True)
    for frame in kit.decode_film(result.video):
        center = frame[110:150, 123:133].reshape(-1, 3).mean(axis=0)
        assert center[0] > 1.5 * center[2], "the front is never lost"


def test_auto_orient_is_applied_and_told(kit: SimpleNamespace, engine: EmbeddedEngine) -> None:
    glb = kit.make_glb(kit.box(1, 1, 2, {"+x": _RED, "-x": _BLUE}))
    result = engine.run(RenderRequest(glb, kit.make_scene(), width=256, height=256, duration_s=0.25), NullContext())
    assert abs(result.front_yaw_degrees) == pytest.approx(90.0)
    first = kit.decode_film(result.video)[0][110:150, 118:138].reshape(-1, 3).mean(axis=0)
    assert abs(first[0] - first[2]) > 60, "a coloured side faces the camera"


def test_the_plate_must_have_the_films_size(engine: EmbeddedEngine, request_: RenderRequest) -> None:
    with pytest.raises(InvalidArgument) as caught:
        engine.run(RenderRequest(request_.glb, request_.scene, width=512, height=256), NullContext())
    assert caught.value.reason == "PLATE_SIZE"


def test_a_failing_encoder_is_reported_and_does_not_hang() -> None:
    wrong = Planes(np.zeros((64, 64), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((32, 32), np.uint8))
    with pytest.raises(ValueError), FilmWriter(64, 64) as film:
        for _ in range(50):
            film.add(wrong)
    with pytest.raises(ValueError):
        film.result()
