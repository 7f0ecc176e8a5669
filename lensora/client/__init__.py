"""The SDK: a photo goes in, four artifacts come out.

::

    from lensora.client import Studio

    with Studio("lsk_…", "https://studio.example") as studio:
        job = studio.init("camera.jpg").transform(background="on a marble countertop", camera="cinematic")
        for event in job.watch():
            print(f"{event.step} {event.progress:.0%}")
        job.download("glb", "camera.glb")

``AsyncStudio`` is the same to be awaited. The scheme of the address says what is spoken: ``https``, ``http``, ``grpcs``
or ``grpc``. Errors are those of ``lensora.core.errors``, whatever was spoken; a job that failed raises ``JobFailed``.
"""

from lensora.client.aio import AsyncJob, AsyncSession, AsyncStudio
from lensora.client.sync import Job, Session, Studio
from lensora.client.values import (
    Artifact,
    ArtifactKind,
    CameraPreset,
    CameraReport,
    DetectedObject,
    JobEvent,
    JobFailed,
    JobFailure,
    JobStatus,
    MeshReport,
    Output,
    Picture,
    Result,
    SessionInfo,
    Step,
    StepReport,
    StepState,
)

__all__ = [
    "Artifact",
    "ArtifactKind",
    "AsyncJob",
    "AsyncSession",
    "AsyncStudio",
    "CameraPreset",
    "CameraReport",
    "DetectedObject",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobFailure",
    "JobStatus",
    "MeshReport",
    "Output",
    "Picture",
    "Result",
    "Session",
    "SessionInfo",
    "Step",
    "StepReport",
    "StepState",
    "Studio",
]
