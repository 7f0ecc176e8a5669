"""The studio over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from lensora.client.transport import CHUNK_BYTES, lost, no_artifact, reopening
from lensora.client.values import (
    Artifact,
    ArtifactKind,
    CameraReport,
    DetectedObject,
    JobEvent,
    JobFailure,
    MeshReport,
    Order,
    Picture,
    Result,
    SessionInfo,
    StepReport,
)
from lensora.core.errors import Cancelled, LensoraError, Unavailable
from lensora.core.geometry import Box
from lensora.runtime.channels import open_channel
from lensora.runtime.errors import from_rpc
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from lensora.type.v1 import geometry_pb2, mesh_pb2, scene_pb2

_WATCH_SECONDS = 120.0
"""A stream of events is asked for again after so long, because a connection can be lost without a word."""

_DIGITS = 4
"""Of shares and of boxes, as HTTP has them."""


class GrpcTransport:
    """See ``Transport``; made in the event loop that it is used in."""

    def __init__(self, key: str, target: str, timeout: float, *, secure: bool) -> None:
        self._channel = open_channel(target, grpc.ssl_channel_credentials() if secure else None)
        self._stub: Any = studio_pb2_grpc.StudioServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._timeout = timeout

    async def init(self, photo: BinaryIO, max_objects: int | None, key: str) -> SessionInfo:
        """See ``Transport``."""

        async def messages() -> AsyncIterator[studio_pb2.CreateSessionRequest]:
            options = studio_pb2.SessionOptions(max_objects=max_objects or 0, idempotency_key=key)
            yield studio_pb2.CreateSessionRequest(options=options)
            while chunk := photo.read(CHUNK_BYTES):
                yield studio_pb2.CreateSessionRequest(chunk=chunk)

        answer = await self._call(self._stub.CreateSession, messages())
        session = answer.session
        return SessionInfo(
            session.session_id,
            session.source_url,
            tuple(
                DetectedObject(item.index, item.label, item.category, _box(item.bbox), item.score)
                for item in session.objects
            ),
            answer.credits_used,
            answer.detect_elapsed_ms,
        )

    async def delete(self, session_id: str) -> None:
        """See ``Transport``."""
        await self._call(self._stub.DeleteSession, studio_pb2.DeleteSessionRequest(session_id=session_id))

    async def transform(self, session_id: str, order: Order, key: str) -> str:
        """See ``Transport``."""
        request = studio_pb2.CreateJobRequest(spec=_spec(session_id, order), idempotency_key=key)
        return str((await self._call(self._stub.CreateJob, request)).job.job_id)

    async def job(self, job_id: str) -> Result:
        """See ``Transport``."""
        return _result((await self._call(self._stub.GetJob, studio_pb2.GetJobRequest(job_id=job_id))).job)

    async def cancel(self, job_id: str) -> Result:
        """See ``Transport``."""
        return _result((await self._call(self._stub.CancelJob, studio_pb2.CancelJobRequest(job_id=job_id))).job)

    async def events(self, job_id: str, after: int) -> AsyncGenerator[tuple[JobEvent, Result | None] | None, None]:
        """See ``Transport``."""
        while True:
            request = studio_pb2.WatchJobRequest(job_id=job_id, after_seq=after)
            try:
                async for answer in self._stub.WatchJob(request, timeout=_WATCH_SECONDS, metadata=self._metadata):
                    after = answer.event.seq
                    yield _event(answer.event), _result(answer.job) if answer.HasField("job") else None
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise _told(error) from error
                yield None
            else:
                return

    async def artifact(self, job_id: str, kind: ArtifactKind) -> Artifact:
        """See ``Transport``."""
        job = (await self._call(self._stub.GetJob, studio_pb2.GetJobRequest(job_id=job_id))).job
        for item in job.artifacts:
            if _word(studio_pb2.ArtifactKind, item.kind) == kind:
                return Artifact(kind, item.media_type, item.size, item.sha256, item.url)
        raise no_artifact(_result(job), kind)

    async def read(self, job_id: str, artifact: Artifact, offset: int) -> AsyncGenerator[bytes, None]:
        """See ``Transport``."""
        kind = studio_pb2.ArtifactKind.Value(f"ARTIFACT_KIND_{artifact.kind.upper()}")
        request = studio_pb2.DownloadArtifactRequest(job_id=job_id, kind=kind, offset=offset)
        call = self._stub.DownloadArtifact(request, metadata=self._metadata)
        try:
            with _errors():
                while (answer := await self._next(call)) is not grpc.aio.EOF:
                    if answer.chunk:
                        yield answer.chunk
        finally:
            call.cancel()

    async def _next(self, call: Any) -> Any:
        """A stream's next message, or its end; a connection can be lost without a word."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call.read()
        except TimeoutError:
            raise lost(f"nothing came for {self._timeout:g} s") from None

    async def close(self) -> None:
        """See ``Transport``."""
        await self._channel.close()

    async def _call(self, method: Any, request: Any) -> Any:
        with _errors():
            return await method(request, timeout=self._timeout, metadata=self._metadata)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _told(error) from error


def _told(error: grpc.aio.AioRpcError) -> LensoraError:
    """What the studio said, or that it went away: then it said nothing, or it cut off what ran."""
    told = from_rpc(error)
    if isinstance(told, Unavailable | Cancelled) and told.reason == told.default_reason:
        return lost(told.message)
    return told


def _spec(session_id: str, order: Order) -> studio_pb2.JobSpec:
    output = order.output
    return studio_pb2.JobSpec(
        session_id=session_id,
        object_index=order.object_index,
        background=_background(order.background),
        camera_preset=cast("Any", scene_pb2.CameraPreset).Value(f"CAMERA_PRESET_{order.camera.upper()}"),
        seed=order.seed,
        on_slab=cast("Any", studio_pb2.OnSlab).Value(f"ON_SLAB_{order.on_slab.upper()}"),
        output=studio_pb2.OutputSpec(
            size=geometry_pb2.Size(width=output.width, height=output.height), duration_s=output.duration_s
        ),
        webhook_url=order.webhook_url,
    )


def _background(background: str | Picture) -> studio_pb2.Background:
    if isinstance(background, Picture):
        with reopening(background.source, "background.picture")() as file:
            return studio_pb2.Background(picture=file.read())
    if background == "transparent":
        return studio_pb2.Background(transparent=studio_pb2.TransparentBackground())
    if background.startswith("https://"):
        return studio_pb2.Background(url=background)
    return studio_pb2.Background(prompt=background)


def _event(event: studio_pb2.JobEvent) -> JobEvent:
    return JobEvent(
        event.seq,
        event.time.ToDatetime(UTC),
        _word(studio_pb2.Step, event.step),
        _word(studio_pb2.StepState, event.state),
        round(event.fraction, _DIGITS),
        _word(studio_pb2.JobStatus, event.status),
        round(event.progress, _DIGITS),
    )


def _result(job: studio_pb2.Job) -> Result:
    return Result(
        job_id=job.job_id,
        session_id=job.spec.session_id,
        status=_word(studio_pb2.JobStatus, job.status),
        step=_word(studio_pb2.Step, job.step),
        progress=round(job.progress, _DIGITS),
        steps=tuple(
            StepReport(
                _word(studio_pb2.Step, step.step),
                _word(studio_pb2.StepState, step.state),
                _time(step, "started_at"),
                _time(step, "ended_at"),
                step.reused,
                step.fingerprint,
                step.notice,
            )
            for step in job.steps
        ),
        outputs={_word(studio_pb2.ArtifactKind, item.kind): item.url for item in job.artifacts},
        mesh=_mesh(job) if job.HasField("mesh") else None,
        camera=_camera(job.camera) if job.HasField("camera") else None,
        crop_bbox=_box(job.crop_bbox) if job.HasField("crop_bbox") else None,
        scene_note=job.scene_note,
        credits_used=job.credits_used,
        credits_refunded=job.credits_refunded,
        error=_failure(job.error) if job.HasField("error") else None,
        created_at=job.created_at.ToDatetime(UTC),
        started_at=_time(job, "started_at"),
        ended_at=_time(job, "ended_at"),
    )


def _mesh(job: studio_pb2.Job) -> MeshReport:
    mesh = job.mesh
    return MeshReport(
        mesh.thin_axis_ratio,
        _word(mesh_pb2.Verdict, mesh.verdict),
        mesh.watertight,
        mesh.triangles,
        job.mesh_engine,
        mesh.method,
        mesh.front_yaw_degrees,
    )


def _camera(camera: scene_pb2.CameraReport) -> CameraReport:
    return CameraReport(_word(scene_pb2.CameraPreset, camera.preset), camera.arc_degrees, camera.clamped)


def _failure(error: studio_pb2.JobError) -> JobFailure:
    return JobFailure(_word(studio_pb2.Step, error.step), error.reason, error.message)


def _box(box: geometry_pb2.Box) -> Box:
    return Box(*(round(side, _DIGITS) for side in (box.x1, box.y1, box.x2, box.y2)))


def _time(message: Any, field: str) -> datetime | None:
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(UTC) if message.HasField(field) else None


_PREFIXES: dict[Any, str] = {
    studio_pb2.Step: "STEP_",
    studio_pb2.StepState: "STEP_STATE_",
    studio_pb2.JobStatus: "JOB_STATUS_",
    studio_pb2.ArtifactKind: "ARTIFACT_KIND_",
    mesh_pb2.Verdict: "VERDICT_",
    scene_pb2.CameraPreset: "CAMERA_PRESET_",
}


def _word(enum: Any, number: int) -> Any:
    """``STEP_REMOVING_BG`` as callers know it: ``removing-bg``."""
    word = enum.Name(number).removeprefix(_PREFIXES[enum]).lower()
    return word.replace("_", "-") if enum is studio_pb2.Step else word
