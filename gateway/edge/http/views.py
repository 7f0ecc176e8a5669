"""From the gateway's values to the JSON of ``schemas``."""

from __future__ import annotations

from uuid import UUID

from gateway import ledger
from gateway.edge.http import schemas
from gateway.edge.http.edge import Edge
from gateway.model import ArtifactKind, Job, Session
from lensora.core.geometry import Box


def session(edge: Edge, base: str, value: Session) -> schemas.SessionCreated:
    """What init answers."""
    return schemas.SessionCreated(
        session_id=UUID(value.session_id),
        source_url=edge.signer.source_url(value, base),
        objects=[
            schemas.DetectedObject(
                index=item.index, label=item.label, category=item.category, bbox=_box(item.box), score=item.score
            )
            for item in value.objects
        ],
        credits_used=ledger.INIT_PRICE,
        detect_elapsed_ms=value.detect_elapsed_ms,
    )


def accepted(edge: Edge, base: str, job: Job) -> schemas.JobAccepted:
    """What transform answers."""
    return schemas.JobAccepted(
        job_id=UUID(job.job_id),
        status=job.status,
        credits_used=job.price,
        events_url=edge.signer.events_url(job, base),
    )


def result(edge: Edge, base: str, job: Job) -> schemas.Result:
    """The job as it is now."""
    mesh, camera, error = job.mesh, job.camera, job.error
    return schemas.Result(
        job_id=UUID(job.job_id),
        session_id=job.options.session_id,
        status=job.status,
        step=job.step,
        progress=round(job.progress, 4),
        steps=[
            schemas.StepReport(
                name=record.step,
                state=record.state,
                started_at=record.started_at,
                ended_at=record.ended_at,
                reused=record.reused,
                fingerprint=record.fingerprint,
                notice=record.notice,
            )
            for record in job.steps
        ],
        outputs=_outputs(edge, base, job),
        mesh=mesh
        and schemas.MeshReport(
            thin_axis_ratio=mesh.thin_axis_ratio,
            verdict=mesh.verdict,
            watertight=mesh.watertight,
            triangles=mesh.triangles,
            engine=mesh.engine,
            method=mesh.method,
            front_yaw_degrees=mesh.front_yaw_degrees,
        ),
        camera=camera
        and schemas.CameraReport(preset=camera.preset, arc_degrees=camera.arc_degrees, clamped=camera.clamped),
        crop_bbox=_box(job.crop) if job.crop else None,
        scene_note=job.scene_note,
        credits_used=job.price,
        credits_refunded=job.refunded,
        error=error and schemas.JobFailure(step=error.step, code=error.reason, message=error.message),
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


def credits_of(balance: ledger.Balance, entries: list[ledger.Entry]) -> schemas.Credits:
    """What an account has."""
    return schemas.Credits(
        balance=balance.available,
        held=balance.held,
        entries=[
            schemas.LedgerEntry(
                id=entry.transaction_id,
                kind=entry.kind,
                available=entry.available,
                held=entry.held,
                created_at=entry.created_at,
            )
            for entry in entries
        ],
    )


def _outputs(edge: Edge, base: str, job: Job) -> schemas.Outputs | None:
    if not job.artifacts:
        return None
    urls = edge.signer.artifact_urls(job, base)
    return schemas.Outputs(
        video_url=urls[ArtifactKind.VIDEO],
        glb_url=urls[ArtifactKind.GLB],
        still_url=urls[ArtifactKind.STILL],
        cutout_url=urls[ArtifactKind.CUTOUT],
        alpha_video_url=urls.get(ArtifactKind.ALPHA_VIDEO),
    )


def _box(box: Box) -> list[float]:
    return [round(side, 4) for side in (box.x1, box.y1, box.x2, box.y2)]
