"""The graph of stages in any order that its edges allow, with a failure or a cancel anywhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import pipeline
from gateway.model import ArtifactKind, DetectedObject, JobError, JobStatus, Session, Step, StoredBlob
from gateway.stages import Outcome, Stages, Work
from lensora.background.v1 import background_pb2
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import Box
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.render.v1 import render_pb2
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, engine_pb2, geometry_pb2, mesh_pb2, scene_pb2
from tests.unit.gateway.stories import MemoryStore

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = Session(
    "session",
    "local",
    StoredBlob("0" * 64, 1, "image/png"),
    10,
    10,
    (DetectedObject(0, "cup", "product", Box(0.1, 0.1, 0.9, 0.9), 1.0),),
    412,
    WHEN,
    WHEN,
)
NAMES = ("segment", "build_scene", "compose", "reconstruct", "render")
NEEDS = {"compose": {"segment", "build_scene"}, "reconstruct": {"segment"}, "render": {"reconstruct", "build_scene"}}
FAILED_STEPS = {
    "segment": {Step.CROPPING, Step.REMOVING_BG},
    "build_scene": {Step.GENERATING_BG},
    "compose": {Step.COMPOSITING},
    "reconstruct": {Step.GENERATING_3D},
    "render": {Step.RENDERING_VIDEO},
}
PHASES = {"segment": ["cropping", "removing-bg", "cropping", "removing-bg"]}


def result_of(name: str) -> Any:
    blob, engine = blob_pb2.Blob(sha256=name.ljust(64, "0"), size=1), engine_pb2.EngineInfo(name="e", fingerprint="f")
    match name:
        case "segment":
            crop = geometry_pb2.Box(x2=1, y2=1)
            return segment_pb2.SegmentResult(cutout=blob, crop_bbox=crop, engine=engine)
        case "build_scene":
            return background_pb2.BuildSceneResult(scene=scene_pb2.Scene(plate=blob), engine=engine)
        case "compose":
            return background_pb2.ComposeResult(still=blob, engine=engine)
        case "reconstruct":
            report = mesh_pb2.MeshReport(verdict=mesh_pb2.VERDICT_THIN)
            return mesh3d_pb2.ReconstructResult(mesh=blob, report=report, engine=engine)
        case _:
            return render_pb2.RenderResult(video=blob, engine=engine)


class ScriptedStages:
    """Stages that move one small step at a time, in an order drawn from outside."""

    def __init__(self, order: list[int], fails: tuple[str, int] | None) -> None:
        self._order, self._fails = order, fails
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self.begun: list[str] = []
        self.done: list[str] = []
        self.cancelled: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def stage(work: Work, _: Any) -> Outcome[Any]:
            return await self._stage(name, work)

        return stage

    async def _stage(self, name: str, work: Work) -> Outcome[Any]:
        assert NEEDS.get(name, set()) <= set(self.done), f"{name} began without what it needs"
        self.begun.append(name)
        try:
            for number in range(4):
                self._waiting[name] = asyncio.get_running_loop().create_future()
                await self._waiting[name]
                if self._fails == (name, number):
                    raise FailedPrecondition("no", reason=name)
                phases = PHASES.get(name, [""] * 4)
                await work.progress((3 - number) / 4 if number == 2 else number / 4, phases[number])
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self._waiting.pop(name, None)
        self.done.append(name)
        return Outcome(result_of(name), reused=False, fingerprint="f")

    async def drive(self) -> None:
        """Let one of those that wait go on, again and again."""
        for number in self._order * 40:
            for _ in range(4):
                await asyncio.sleep(0)
            ready = sorted(name for name, future in self._waiting.items() if not future.done())
            if ready:
                self._waiting[ready[number % len(ready)]].set_result(None)


async def told(stages: ScriptedStages, cancel_after: int | None) -> MemoryStore:
    """A job's story, ended as ``Studio`` ends it."""
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    job = asyncio.create_task(pipeline.run(cast(Stages, stages), journal, SESSION))
    driver = asyncio.create_task(stages.drive())
    if cancel_after is not None:
        for _ in range(cancel_after):
            await asyncio.sleep(0)
        job.cancel()
    try:
        async with asyncio.timeout(20):
            artifacts = await job
    except asyncio.CancelledError:
        await journal.end(JobStatus.CANCELLED)
    except pipeline.StageFailed as failure:
        error = JobError(failure.step, failure.error.reason, failure.error.message)
        await journal.end(JobStatus.FAILED, error=error)
    else:
        await journal.end(JobStatus.SUCCEEDED, artifacts=artifacts)
    driver.cancel()
    await asyncio.wait([driver])
    store.check()
    return store


orders = st.lists(st.integers(0, 59), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(orders)
def test_every_order_ends_well(order: list[int]) -> None:
    stages = ScriptedStages(order, None)
    store = asyncio.run(told(stages, None))
    job = store.jobs[-1]
    assert job.status is JobStatus.SUCCEEDED
    assert sorted(stages.begun) == sorted(stages.done) == sorted(NAMES), "each stage runs once"
    assert {kind: blob.sha256.rstrip("0") for kind, blob in job.artifacts.items()} == {
        ArtifactKind.VIDEO: "render",
        ArtifactKind.GLB: "reconstruct",
        ArtifactKind.STILL: "compose",
        ArtifactKind.CUTOUT: "segment",
    }


@settings(max_examples=60, deadline=None)
@given(orders, st.sampled_from(NAMES), st.integers(0, 3))
def test_a_failure_anywhere_is_named_and_stops_the_rest(order: list[int], name: str, number: int) -> None:
    stages = ScriptedStages(order, (name, number))
    store = asyncio.run(told(stages, None))
    job = store.jobs[-1]
    assert job.status is JobStatus.FAILED
    assert not job.artifacts
    assert job.error is not None
    assert job.error.reason == name, "the cause, not one that followed from it"
    assert job.error.step in FAILED_STEPS[name]
    assert name not in stages.done
    assert set(stages.begun) == {name, *stages.done, *stages.cancelled}, "nothing runs on"


@settings(max_examples=60, deadline=None)
@given(orders, st.integers(0, 200))
def test_a_cancel_anywhere_stops_all(order: list[int], cancel_after: int) -> None:
    stages = ScriptedStages(order, None)
    store = asyncio.run(told(stages, cancel_after))
    job = store.jobs[-1]
    assert job.status in (JobStatus.CANCELLED, JobStatus.SUCCEEDED)
    assert set(stages.begun) == {*stages.done, *stages.cancelled}, "nothing runs on"
    assert bool(job.artifacts) == (job.status is JobStatus.SUCCEEDED)
