"""Between the gateway's values and ``studio.v1``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.model import ArtifactKind, DetectedObject, Job, JobEvent, Session, StepRecord, StoredBlob
from gateway.options import (
    Background,
    JobOptions,
    PictureBackground,
    PromptBackground,
    TransparentBackground,
    UrlBackground,
)
from lensora.core import upload
from lensora.core.blobs import sha256_hex
from lensora.core.errors import InvalidArgument
from lensora.runtime.convert import box_to_proto
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import geometry_pb2, mesh_pb2, scene_pb2


def _number(enum: Any, prefix: str, value: StrEnum | str) -> Any:
    """The proto enum's number: ``removing-bg`` is ``STEP_REMOVING_BG``."""
    return enum.Value(f"{prefix}_{value.upper().replace('-', '_')}")


def _name(enum: Any, prefix: str, number: int, field: str) -> str:
    """The other way; an unknown number and UNSPECIFIED are refused."""
    names: dict[int, str] = {value: name.removeprefix(f"{prefix}_").lower() for name, value in enum.items() if value}
    if number not in names:
        raise InvalidArgument.of(field, f"one of {', '.join(names.values())}")
    return names[number]


def artifact_kind(number: int) -> ArtifactKind:
    """Raise ``InvalidArgument`` for one that there is not."""
    return ArtifactKind(_name(studio_pb2.ArtifactKind, "ARTIFACT_KIND", number, "kind"))


def job_options(spec: studio_pb2.JobSpec) -> dict[str, Any]:
    """The spec as ``JobOptions`` takes it; absent fields are left out, so that defaults stand in one place."""
    values: dict[str, Any] = {
        "session_id": spec.session_id,
        "object_index": spec.object_index,
        "background": _background(spec.background),
        "camera_preset": _name(scene_pb2.CameraPreset, "CAMERA_PRESET", spec.camera_preset, "camera_preset"),
        "seed": spec.seed,
    }
    if spec.on_slab:
        values["on_slab"] = _name(studio_pb2.OnSlab, "ON_SLAB", spec.on_slab, "on_slab")
    if spec.webhook_url:
        values["webhook_url"] = spec.webhook_url
    output: dict[str, Any] = {}
    if spec.output.HasField("size"):
        output |= {"width": spec.output.size.width, "height": spec.output.size.height}
    if spec.output.duration_s != 0:
        output["duration_s"] = spec.output.duration_s
    return values | {"output": output}


def _background(background: studio_pb2.Background) -> dict[str, Any]:
    match background.WhichOneof("kind"):
        case "transparent":
            return {"type": "transparent"}
        case "prompt":
            return {"type": "prompt", "prompt": background.prompt}
        case "url":
            return {"type": "url", "url": background.url}
        case "picture":
            upload.inspect(background.picture, "background.picture")
            return {"type": "picture", "sha256": sha256_hex(background.picture), "size": len(background.picture)}
        case _:
            raise InvalidArgument.of("background", "required: transparent, url, prompt or picture")


def _time(when: datetime | None) -> Timestamp | None:
    if when is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(when)
    return stamp


def session(value: Session) -> studio_pb2.Session:
    """The session as callers see it."""
    return studio_pb2.Session(
        session_id=value.session_id,
        objects=[_object(item) for item in value.objects],
        photo_width=value.photo_width,
        photo_height=value.photo_height,
        created_at=_time(value.created_at),
        expires_at=_time(value.expires_at),
    )


def _object(value: DetectedObject) -> studio_pb2.DetectedObject:
    return studio_pb2.DetectedObject(
        index=value.index,
        label=value.label,
        category=value.category,
        bbox=box_to_proto(value.box),
        score=value.score,
    )


def job(value: Job) -> studio_pb2.Job:
    """The job as callers see it."""
    message = studio_pb2.Job(
        job_id=value.job_id,
        spec=_spec(value.options),
        status=_number(studio_pb2.JobStatus, "JOB_STATUS", value.status),
        step=_number(studio_pb2.Step, "STEP", value.step),
        progress=value.progress,
        steps=[_step(record) for record in value.steps],
        artifacts=[artifact(kind, stored) for kind, stored in value.artifacts.items()],
        crop_bbox=box_to_proto(value.crop) if value.crop else None,
        scene_note=value.scene_note,
        credits_used=value.price,
        credits_refunded=value.refunded,
        created_at=_time(value.created_at),
        started_at=_time(value.started_at),
        ended_at=_time(value.ended_at),
    )
    if value.mesh:
        message.mesh_engine = value.mesh.engine
        message.mesh.CopyFrom(
            mesh_pb2.MeshReport(
                thin_axis_ratio=value.mesh.thin_axis_ratio,
                verdict=_number(mesh_pb2.Verdict, "VERDICT", value.mesh.verdict),
                watertight=value.mesh.watertight,
                triangles=value.mesh.triangles,
                method=value.mesh.method,
                front_yaw_degrees=value.mesh.front_yaw_degrees,
            )
        )
    if value.camera:
        message.camera.preset = _number(scene_pb2.CameraPreset, "CAMERA_PRESET", value.camera.preset)
        message.camera.arc_degrees = value.camera.arc_degrees
        message.camera.clamped = value.camera.clamped
    if value.error:
        message.error.step = _number(studio_pb2.Step, "STEP", value.error.step)
        message.error.reason, message.error.message = value.error.reason, value.error.message
    return message


def _spec(options: JobOptions) -> studio_pb2.JobSpec:
    return studio_pb2.JobSpec(
        session_id=str(options.session_id),
        object_index=options.object_index,
        background=_background_proto(options.background),
        camera_preset=_number(scene_pb2.CameraPreset, "CAMERA_PRESET", options.camera_preset),
        seed=options.seed,
        on_slab=_number(studio_pb2.OnSlab, "ON_SLAB", options.on_slab),
        output=studio_pb2.OutputSpec(
            size=geometry_pb2.Size(width=options.output.width, height=options.output.height),
            duration_s=options.output.duration_s,
        ),
        webhook_url=options.webhook_url or "",
    )


def _background_proto(background: Background) -> studio_pb2.Background:
    match background:
        case PromptBackground():
            return studio_pb2.Background(prompt=background.prompt)
        case UrlBackground():
            return studio_pb2.Background(url=background.url)
        case PictureBackground():
            return studio_pb2.Background(picture=b"")  # which kind it was; 20 MB in every answer would help nobody
        case TransparentBackground():
            return studio_pb2.Background(transparent=studio_pb2.TransparentBackground())


def _step(record: StepRecord) -> studio_pb2.StepRecord:
    return studio_pb2.StepRecord(
        step=_number(studio_pb2.Step, "STEP", record.step),
        state=_number(studio_pb2.StepState, "STEP_STATE", record.state),
        started_at=_time(record.started_at),
        ended_at=_time(record.ended_at),
        reused=record.reused,
        fingerprint=record.fingerprint,
        notice=record.notice,
    )


def artifact(kind: ArtifactKind, stored: StoredBlob) -> studio_pb2.Artifact:
    """One file that a job made."""
    return studio_pb2.Artifact(
        kind=_number(studio_pb2.ArtifactKind, "ARTIFACT_KIND", kind),
        media_type=stored.media_type,
        size=stored.size,
        sha256=stored.sha256,
    )


def event(value: JobEvent) -> studio_pb2.JobEvent:
    """The event as callers see it."""
    return studio_pb2.JobEvent(
        seq=value.seq,
        time=_time(value.time),
        step=_number(studio_pb2.Step, "STEP", value.step),
        state=_number(studio_pb2.StepState, "STEP_STATE", value.state),
        fraction=value.fraction,
        status=_number(studio_pb2.JobStatus, "JOB_STATUS", value.status),
        progress=value.progress,
    )
