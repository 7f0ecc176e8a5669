"""What counts as alike, as different and as worse, stage by stage; and what the report shows of it."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from cli.canary import report
from cli.canary.cases import Case
from cli.canary.judge import DIFFERS, NO_WORSE, WORSE, Evidence, Pair, verdict
from cli.canary.measures import STAGES
from cli.canary.tracks import Answer
from lensora.background.v1 import background_pb2
from lensora.core.errors import FailedPrecondition, Internal, LensoraError
from lensora.detect.v1 import detect_pb2
from lensora.render.v1 import render_pb2
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2
from tests.mesh import toys

CASE = Case("a ball", segment_pb2.SegmentRequest(), toys.photo())


def answer(result: Any, data: bytes = b"", seconds: float = 0.1) -> Answer:
    """A result with one blob."""
    return Answer(seconds, result, blobs={hashlib.sha256(data).hexdigest(): data})


def blob(data: bytes) -> blob_pb2.Blob:
    """Its reference."""
    return blob_pb2.Blob(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def png(*channels: Any) -> bytes:
    """A picture of (h, w) channels, BGR or BGRA."""
    return cv2.imencode(".png", np.dstack(channels).astype(np.uint8))[1].tobytes()


def cutout(radius: int, seconds: float = 0.1) -> Answer:
    """A disc."""
    alpha = np.zeros((48, 48), np.uint8)
    cv2.circle(alpha, (24, 24), radius, 255, -1)
    data = png(*[np.full((48, 48), 90)] * 3, alpha)
    return answer(segment_pb2.SegmentResult(cutout=blob(data), crop_bbox=toys.BOX), data, seconds)


def found(*boxes: tuple[float, float, float, float]) -> Answer:
    """Proposals, and the whole frame."""
    corners = [*boxes, (0.0, 0.0, 1.0, 1.0)]
    proposals = [
        detect_pb2.Proposal(label="ball", bbox=geometry_pb2.Box(x1=x1, y1=y1, x2=x2, y2=y2))
        for x1, y1, x2, y2 in corners
    ]
    return answer(detect_pb2.DetectObjectsResult(proposals=proposals))


def scene(shade: int) -> Answer:
    """A plate."""
    data = png(*[np.full((36, 64), shade)] * 3)
    return answer(background_pb2.BuildSceneResult(scene=scene_pb2.Scene(name="beach", plate=blob(data))), data)


def film(shade: int, frames: int = 4, seconds: float = 0.1) -> Answer:
    """A grey one."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((36, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = out.getvalue()
    return answer(render_pb2.RenderResult(video=blob(data), frames=frames), data, seconds)


def judged(service: str, *pairs: tuple[Answer, Answer]) -> Evidence:
    """Evidence of so many pairs."""
    evidence = Evidence(service)
    for stable, canary in pairs:
        whole = stable.error is None and canary.error is None
        compared = STAGES[service].compare(CASE.photo, stable, canary) if whole else None
        evidence.pairs.append(Pair(CASE, stable, canary, compared))
    return evidence


def failed(error: LensoraError) -> Answer:
    """A call that was refused."""
    return Answer(0.1, error=error)


BALL = (0.25, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    ("service", "stable", "alike", "other"),
    [
        ("segment", cutout(20), cutout(20), cutout(10)),
        ("detect", found(BALL), found((0.26, 0.25, 0.75, 0.75)), found((0.0, 0.0, 0.2, 0.2), (0.8, 0.8, 1.0, 1.0))),
        ("background", scene(120), scene(122), scene(220)),
        ("render", film(120), film(121), film(220)),
        ("render", film(120), film(120), film(120, frames=3)),
    ],
)
def test_results_that_are_alike_pass_and_others_are_to_be_looked_at(
    service: str, stable: Answer, alike: Answer, other: Answer
) -> None:
    assert verdict(judged(service, (stable, stable))).name == NO_WORSE
    assert judged(service, (stable, stable)).likeness == pytest.approx(1.0)
    assert verdict(judged(service, (stable, alike))).name == NO_WORSE
    assert verdict(judged(service, (stable, other))).name == DIFFERS


def test_iou_is_that_of_the_areas() -> None:
    assert judged("segment", (cutout(20), cutout(10))).likeness == pytest.approx(0.25, abs=0.03)


def test_who_fails_more_often_is_worse_unless_the_input_is_to_blame() -> None:
    good = cutout(20)
    found = verdict(judged("segment", (good, good), (good, failed(Internal("broken")))))
    assert found.name == WORSE and "1 of 2 calls failed" in found.reasons[0] and "INTERNAL" in found.reasons[0]
    assert verdict(judged("segment", (good, good), (failed(Internal("broken")), good))).name == NO_WORSE
    nothing = failed(FailedPrecondition("nothing there", reason="NO_SUBJECT"))
    assert verdict(judged("segment", (good, good), (nothing, nothing))).name == NO_WORSE


def test_who_is_much_slower_is_worse() -> None:
    assert verdict(judged("segment", *[(cutout(20), cutout(20, 0.14))] * 3)).name == NO_WORSE
    slow = verdict(judged("segment", *[(cutout(20), cutout(20, 0.3))] * 3))
    assert slow.name == WORSE and "300 ms at the median" in slow.reasons[0]
    assert verdict(judged("segment", *[(cutout(20, 0.01), cutout(20, 0.03))] * 3)).name == NO_WORSE, "nobody notices"
    assert verdict(judged("segment", (cutout(20), cutout(20, 0.3)))).name == NO_WORSE, "once is chance"
    frames = verdict(judged("render", *[(film(120), film(120, seconds=0.2))] * 3))
    assert frames.name == WORSE and "50 ms a frame" in frames.reasons[0]


def test_without_cases_there_is_no_verdict() -> None:
    with pytest.raises(FailedPrecondition):
        verdict(Evidence("segment"))


def test_a_result_that_is_no_picture_is_a_typed_error() -> None:
    with pytest.raises(FailedPrecondition, match="no 8-bit picture"):
        judged(
            "background",
            (scene(1), answer(background_pb2.BuildSceneResult(scene=scene_pb2.Scene(plate=blob(b"?"))), b"?")),
        )


def test_the_report_shows_what_was_seen_and_quotes_nothing_as_markup(tmp_path: Path) -> None:
    evidence = judged("segment", (cutout(20), cutout(10)), (cutout(20), failed(Internal("<script>alert(1)</script>"))))
    file = tmp_path / "out" / "report.html"
    report.write(file, evidence, verdict(evidence), ["5 %", "back to 0 %: <b>"])
    page = file.read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "back to 0 %: &lt;b&gt;" in page
    assert len(re.findall("<img", page)) == 4 + 2 and "Canary of segment: worse" in page
    assert "http" not in page.replace("http-equiv", ""), "it needs nothing from anywhere"
