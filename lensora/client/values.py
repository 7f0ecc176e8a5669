"""What goes in and comes out, the same over every transport. See ``api.md`` and ``studio.proto`` for the contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from typing import BinaryIO, Literal, Required, TypedDict

from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import Box, Verdict

Step = Literal[
    "cropping", "removing-bg", "generating-bg", "compositing", "generating-3d", "rendering-video", "done"
]  # fmt: skip
StepState = Literal["pending", "running", "done", "failed", "cancelled"]
JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
CameraPreset = Literal["turntable", "dolly", "cinematic"]
ArtifactKind = Literal["video", "glb", "still", "cutout", "alpha_video"]
OnSlab = Literal["clamp", "fail"]

TERMINAL: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
"""Nothing more happens to a job in one of these."""

Source = str | PathLike[str] | bytes | BinaryIO
"""A file by its path, its bytes, or itself, open for reading."""


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One thing in a photo that a job can be about."""

    index: int
    label: str
    """``object`` where a name would be a guess."""
    category: str
    bbox: Box
    score: float
    """Confidence in [0, 1]."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A photo and what is in it."""

    session_id: str
    source_url: str
    """Signed address of the upright photo, where the deployment has one to give."""
    objects: tuple[DetectedObject, ...]
    """Best first; the last is always the whole picture."""
    credits_used: int
    detect_elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A background of one's own: JPEG, PNG or WebP, at most 20 MB. Only gRPC carries one."""

    source: Source


@dataclass(frozen=True, slots=True)
class Output:
    """Size and length of the film."""

    width: int = 1280
    """Pixels; even, 256 to 1920."""
    height: int = 720
    duration_s: float = 5.0
    """1 to 12 seconds, of 24 frames each."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to make of a session."""

    background: str | Picture
    """Words; an ``https`` address of a picture; ``transparent``; or a picture."""
    camera: CameraPreset
    """How it meets the subject."""
    object_index: int = 0
    """One of the session's objects."""
    seed: int = 0
    """The same seed, photo and options give the same artifacts."""
    on_slab: OnSlab = "clamp"
    """Whether a mesh that stayed a slab is filmed with a rocking arc, or fails the job."""
    output: Output = Output()
    """Size and length of the film."""
    webhook_url: str = ""
    """``https`` address that is told the end."""


class OrderOptions(TypedDict, total=False):
    """``Order``, as keyword arguments; ``background`` and ``camera`` are required."""

    background: Required[str | Picture]
    camera: Required[CameraPreset]
    object_index: int
    seed: int
    on_slab: OnSlab
    output: Output
    webhook_url: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a job."""

    name: Step
    state: StepState
    started_at: datetime | None
    ended_at: datetime | None
    reused: bool
    """Whether an earlier result was used again."""
    fingerprint: str
    """What made its result: ``service/engine@version``."""
    notice: str
    """Empty, or what was unusual, such as that another engine than the chosen one stood in."""


@dataclass(frozen=True, slots=True)
class MeshReport:
    """What was measured on the mesh."""

    thin_axis_ratio: float
    verdict: Verdict
    watertight: bool
    triangles: int
    engine: str
    method: str
    front_yaw_degrees: float


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What the camera did."""

    preset: CameraPreset
    arc_degrees: float
    clamped: bool


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed."""

    step: Step
    code: str
    """Stable, for programs."""
    message: str
    """A sentence that a person can act on."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that a job made."""

    kind: ArtifactKind
    media_type: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""
    url: str
    """Signed address, where the deployment has one to give."""


@dataclass(frozen=True, slots=True)
class Result:
    """A job as it is, or was when it ended."""

    job_id: str
    session_id: str
    status: JobStatus
    step: Step
    """The furthest step that everything before it has reached; never goes back."""
    progress: float
    """Share of the whole work done, in [0, 1]; never falls."""
    steps: tuple[StepReport, ...]
    outputs: dict[ArtifactKind, str]
    """Signed address of each artifact, empty where the deployment has none to give; no artifacts unless succeeded."""
    mesh: MeshReport | None
    camera: CameraReport | None
    crop_bbox: Box | None
    """The object's box grown by 12 % and clamped."""
    scene_note: str
    """Which scene was chosen, and whether it is only the nearest."""
    credits_used: int
    """Credits held or captured."""
    credits_refunded: int
    error: JobFailure | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    seq: int
    """From 1, without gaps."""
    time: datetime
    step: Step
    """The step that it happened to; ``done`` for the last event."""
    state: StepState
    fraction: float
    """Share of that step done, in [0, 1]."""
    status: JobStatus
    progress: float
    """Share of the whole work done, in [0, 1]; never falls."""


class JobFailed(FailedPrecondition):
    """The job ended without its artifacts, and its credits were given back; ``reason`` is the failure's code.

    Attributes:
        result: the job.
    """

    default_reason = "JOB_CANCELLED"
    result: Result | None = None

    @classmethod
    def of(cls, result: Result) -> JobFailed:
        """The error of a job that failed or was cancelled."""
        failure = result.error
        message = f"{failure.step} failed: {failure.message}" if failure else "the job was cancelled"
        error = cls(message, reason=failure.code if failure else None)
        error.result = result
        return error
