"""What the gateway knows: sessions, jobs, their steps and events. Values only; no transport, no storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway.options import JobOptions
from lensora.core.geometry import Box, Verdict

LOCAL_ACCOUNT = "local"
"""Whose everything is where there are no keys."""


class Step(StrEnum):
    """The steps in the order in which callers see them."""

    CROPPING = "cropping"
    REMOVING_BG = "removing-bg"
    GENERATING_BG = "generating-bg"
    COMPOSITING = "compositing"
    GENERATING_3D = "generating-3d"
    RENDERING_VIDEO = "rendering-video"
    DONE = "done"


WORK_STEPS = tuple(step for step in Step if step is not Step.DONE)

_SHARES = {
    Step.CROPPING: 0.01,
    Step.REMOVING_BG: 0.05,
    Step.GENERATING_BG: 0.08,
    Step.COMPOSITING: 0.02,
    Step.GENERATING_3D: 0.08,
    Step.RENDERING_VIDEO: 0.76,
}
"""Share of a job's time that each step takes, as `bench.e2e` measured it; only the progress bar rests on it."""


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobStatus(StrEnum):
    """Where a job stands; the last three are terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class ArtifactKind(StrEnum):
    """The four artifacts, and the film with alpha that ``transparent`` adds."""

    VIDEO = "video"
    GLB = "glb"
    STILL = "still"
    CUTOUT = "cutout"
    ALPHA_VIDEO = "alpha_video"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Bytes in the blob store, within the account they belong to."""

    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One thing in a photo that a job can be about."""

    index: int
    label: str
    category: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Session:
    """A photo and what is in it."""

    session_id: str
    account_id: str
    photo: StoredBlob
    photo_width: int
    photo_height: int
    objects: tuple[DetectedObject, ...]
    detect_elapsed_ms: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a job."""

    step: Step
    state: StepState = StepState.PENDING
    fraction: float = 0.0
    """Share of the step done, in [0, 1]; never falls."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reused: bool = False
    """Whether an earlier result was used again."""
    fingerprint: str = ""
    """What made its result: ``service/engine@version``."""
    notice: str = ""
    """What the service said of how it was made, such as that another engine than the chosen one stood in."""


@dataclass(frozen=True, slots=True)
class MeshReport:
    """What mesh3d measured, and the turn that render gave the mesh."""

    thin_axis_ratio: float
    verdict: Verdict
    watertight: bool
    triangles: int
    method: str
    engine: str
    front_yaw_degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What the camera did."""

    preset: str
    arc_degrees: float
    clamped: bool


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: where, a stable code, and a sentence a person can act on."""

    step: Step
    reason: str
    message: str


def _pending_steps() -> tuple[StepRecord, ...]:
    return tuple(StepRecord(step) for step in WORK_STEPS)


@dataclass(frozen=True, slots=True)
class Job:
    """A job's whole life."""

    job_id: str
    account_id: str
    options: JobOptions
    created_at: datetime
    status: JobStatus = JobStatus.QUEUED
    steps: tuple[StepRecord, ...] = field(default_factory=_pending_steps)
    artifacts: dict[ArtifactKind, StoredBlob] = field(default_factory=dict)
    """All four once it has succeeded, and the film with alpha where it was asked for; none before."""
    mesh: MeshReport | None = None
    camera: CameraReport | None = None
    crop: Box | None = None
    scene_note: str = ""
    error: JobError | None = None
    traceparent: str = ""
    """Of the call that made it (W3C Trace Context), so that its work, whenever it is done, belongs to that trace."""
    price: int = 0
    """Credits held for it, in whatever state it is."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def step(self) -> Step:
        """The furthest step that everything before it has reached: the first that has not ended well."""
        waiting = (record.step for record in self.steps if record.state is not StepState.DONE)
        return next(waiting, Step.DONE if self.status is JobStatus.SUCCEEDED else Step.RENDERING_VIDEO)

    @property
    def progress(self) -> float:
        """Share of the whole work done, in [0, 1]; never falls, because no step's fraction does."""
        if self.status is JobStatus.SUCCEEDED:
            return 1.0
        # the last step may be done a moment before the job is
        return min(0.99, sum(_SHARES[record.step] * record.fraction for record in self.steps))

    @property
    def refunded(self) -> int:
        """Credits given back."""
        return self.price if self.status in (JobStatus.FAILED, JobStatus.CANCELLED) else 0

    def record(self, step: Step) -> StepRecord:
        """The record of one step."""
        return self.steps[WORK_STEPS.index(step)]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    seq: int
    """From 1, without gaps."""
    time: datetime
    step: Step
    """The step it happened to; ``DONE`` for the terminal event."""
    state: StepState
    fraction: float
    status: JobStatus
    progress: float
