"""The order of the stages, and nothing else.

::

    segment ──────────────┬── compose
    build_scene ──────────┤
                 segment ─┴── reconstruct ── render (with the scene)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from gateway.model import ArtifactKind, CameraReport, Job, MeshReport, Session, Step, StoredBlob
from gateway.options import Background, PictureBackground, PromptBackground, TransparentBackground, UrlBackground
from gateway.progress import Journal
from gateway.stages import Outcome, Progress, Stages, Work
from lensora.background.v1 import background_pb2
from lensora.core.errors import FailedPrecondition, Internal, LensoraError
from lensora.core.geometry import Verdict
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.render.v1 import render_pb2
from lensora.runtime.convert import box_from_proto, box_to_proto
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, geometry_pb2, mesh_pb2, scene_pb2

_VERDICTS: dict[int, Verdict] = {
    mesh_pb2.VERDICT_VOLUME: "volume",
    mesh_pb2.VERDICT_THIN: "thin",
    mesh_pb2.VERDICT_SLAB: "slab",
}


class StageFailed(Exception):
    """A stage ended with an error; the job fails in this step."""

    def __init__(self, step: Step, error: LensoraError) -> None:
        super().__init__(f"{step}: {error.message}")
        self.step, self.error = step, error


async def run(stages: Stages, journal: Journal, session: Session) -> dict[ArtifactKind, StoredBlob]:
    """Make the artifacts, telling the journal.

    Raises:
        StageFailed: the first stage that failed; its siblings were cancelled.
    """
    flow = _Flow(stages, journal, session)
    try:
        async with asyncio.TaskGroup() as group:
            cutout = group.create_task(flow.segment())
            scene = group.create_task(flow.build_scene())
            still = group.create_task(flow.compose(cutout, scene))
            mesh = group.create_task(flow.reconstruct(cutout))
            film = group.create_task(flow.render(mesh, scene))
    except ExceptionGroup as group_of_failures:
        raise _first(group_of_failures) from None
    artifacts = {
        ArtifactKind.VIDEO: _stored(film.result().video),
        ArtifactKind.GLB: _stored(mesh.result()),
        ArtifactKind.STILL: _stored(still.result()),
        ArtifactKind.CUTOUT: _stored(cutout.result()),
    }
    if film.result().HasField("alpha_video"):
        artifacts[ArtifactKind.ALPHA_VIDEO] = _stored(film.result().alpha_video)
    return artifacts


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The failure that the others followed from: tasks that waited for it raise it again."""
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, ExceptionGroup) else failure


class _Flow:
    """One job's way through the stages."""

    def __init__(self, stages: Stages, journal: Journal, session: Session) -> None:
        self._stages, self._journal, self._session = stages, journal, session
        self._job: Job = journal.job
        self._options = journal.job.options

    async def segment(self) -> blob_pb2.Blob:
        chosen = self._session.objects[self._options.object_index]
        request = segment_pb2.SegmentRequest(
            photo=_blob(self._session.photo),
            box=box_to_proto(chosen.box),
            keep_all_parts=chosen.category == "full_frame",
        )
        cropped = False

        async def progress(fraction: float, phase: str) -> None:
            nonlocal cropped
            if phase == Step.CROPPING:
                await self._journal.running(Step.CROPPING, fraction)
            elif not cropped:
                cropped = True
                await self._journal.done(Step.CROPPING, reused=False, fingerprint="")
            if cropped:
                await self._journal.running(Step.REMOVING_BG, fraction)

        async with self._failing(lambda: Step.REMOVING_BG if cropped else Step.CROPPING):
            await self._journal.running(Step.CROPPING)
            outcome = await self._stages.segment(self._work(progress), request)
            await self._journal.note(crop=box_from_proto(outcome.result.crop_bbox, "crop_bbox"))
        if not cropped:
            await self._done(Step.CROPPING, outcome)
        await self._done(Step.REMOVING_BG, outcome)
        return outcome.result.cutout

    async def build_scene(self) -> scene_pb2.Scene:
        backdrop = _backdrop(self._options.background)
        request = background_pb2.BuildSceneRequest(backdrop=backdrop, size=self._size(), seed=self._options.seed)

        async def accept(result: background_pb2.BuildSceneResult) -> None:
            await self._journal.note(scene_note=result.note)

        outcome = await self._step(Step.GENERATING_BG, self._stages.build_scene, request, accept)
        scene: scene_pb2.Scene = outcome.result.scene
        return scene

    async def compose(self, cutout: asyncio.Task[blob_pb2.Blob], scene: asyncio.Task[scene_pb2.Scene]) -> blob_pb2.Blob:
        request = background_pb2.ComposeRequest(cutout=await cutout, scene=await scene)
        outcome = await self._step(Step.COMPOSITING, self._stages.compose, request)
        still: blob_pb2.Blob = outcome.result.still
        return still

    async def reconstruct(self, cutout: asyncio.Task[blob_pb2.Blob]) -> blob_pb2.Blob:
        request = mesh3d_pb2.ReconstructRequest(cutout=await cutout, seed=self._options.seed)

        async def accept(result: mesh3d_pb2.ReconstructResult) -> None:
            mesh = MeshReport(
                thin_axis_ratio=result.report.thin_axis_ratio,
                verdict=_VERDICTS[result.report.verdict],
                watertight=result.report.watertight,
                triangles=result.report.triangles,
                method=result.report.method,
                engine=result.engine.name,
            )
            await self._journal.note(mesh=mesh)
            if mesh.verdict == "slab" and self._options.on_slab == "fail":
                message = "the mesh is an extruded picture, not a shape; on_slab=clamp delivers it all the same"
                raise FailedPrecondition(message, reason="SLAB")

        outcome = await self._step(Step.GENERATING_3D, self._stages.reconstruct, request, accept)
        glb: blob_pb2.Blob = outcome.result.mesh
        return glb

    async def render(
        self, mesh: asyncio.Task[blob_pb2.Blob], scene: asyncio.Task[scene_pb2.Scene]
    ) -> render_pb2.RenderResult:
        request = render_pb2.RenderRequest(
            mesh=await mesh,
            scene=await scene,
            camera_preset=scene_pb2.CameraPreset.Value(f"CAMERA_PRESET_{self._options.camera_preset.upper()}"),
            size=self._size(),
            duration_s=self._options.output.duration_s,
            seed=self._options.seed,
        )
        if isinstance(self._options.background, TransparentBackground):
            request.alpha_video_target.SetInParent()

        async def accept(result: render_pb2.RenderResult) -> None:
            if result.HasField("alpha_video") != request.HasField("alpha_video_target"):
                raise Internal("render made another set of films than it was asked for", reason="STAGE_PROTOCOL")
            report = self._journal.job.mesh
            await self._journal.note(
                camera=CameraReport(self._options.camera_preset, result.camera.arc_degrees, result.camera.clamped),
                mesh=report and replace(report, front_yaw_degrees=result.front_yaw_degrees),
            )

        outcome = await self._step(Step.RENDERING_VIDEO, self._stages.render, request, accept)
        film: render_pb2.RenderResult = outcome.result
        return film

    async def _step(
        self,
        step: Step,
        stage: Callable[[Work, Any], Awaitable[Outcome[Any]]],
        request: Message,
        accept: Callable[[Any], Awaitable[None]] | None = None,
    ) -> Outcome[Any]:
        """Run a stage that is exactly one step; ``accept`` notes its result, or refuses it, before the step is done."""

        async def progress(fraction: float, _: str) -> None:
            await self._journal.running(step, fraction)

        async with self._failing(lambda: step):
            await self._journal.running(step)
            outcome = await stage(self._work(progress), request)
            if accept is not None:
                await accept(outcome.result)
        await self._done(step, outcome)
        return outcome

    def _work(self, progress: Progress) -> Work:
        return Work(self._job.account_id, self._session.session_id, self._job.job_id, progress)

    async def _done(self, step: Step, outcome: Outcome[Any]) -> None:
        await self._journal.done(step, reused=outcome.reused, fingerprint=outcome.fingerprint, notice=outcome.notice)

    @contextlib.asynccontextmanager
    async def _failing(self, step: Callable[[], Step]) -> AsyncIterator[None]:
        """Say in which step an error happened."""
        try:
            yield
        except LensoraError as error:
            raise StageFailed(step(), error) from error

    def _size(self) -> geometry_pb2.Size:
        return geometry_pb2.Size(width=self._options.output.width, height=self._options.output.height)


def _backdrop(background: Background) -> background_pb2.Backdrop:
    match background:
        case PromptBackground():
            return background_pb2.Backdrop(prompt=background.prompt)
        case UrlBackground():
            return background_pb2.Backdrop(url=background.url)
        case PictureBackground():
            return background_pb2.Backdrop(picture=blob_pb2.Blob(sha256=background.sha256, size=background.size))
        case TransparentBackground():
            return background_pb2.Backdrop(studio=background_pb2.StudioBackdrop())


def _blob(stored: StoredBlob) -> blob_pb2.Blob:
    return blob_pb2.Blob(sha256=stored.sha256, size=stored.size, media_type=stored.media_type)


def _stored(blob: blob_pb2.Blob) -> StoredBlob:
    return StoredBlob(blob.sha256, blob.size, blob.media_type)
