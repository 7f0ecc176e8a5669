"""The JSON that goes in and out, as OpenAPI shows it, each with an example."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gateway.model import JobStatus, Step, StepState
from gateway.options import JobOptions, PromptBackground, TransparentBackground, UrlBackground

_JOB_ID = "0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c11"
_SESSION_ID = "2a91884c-1bb5-44e3-a6e0-7db0a5a56668"
_URL = "https://studio.example/v1/studio"
_SIGNED = "?expires=1798000200&signature=3q2-7w"


_BEGUN, _ENDED = "2026-11-23T04:00:00Z", "2026-11-23T04:00:41Z"
_FILES = (("video", "film.mp4"), ("glb", "mesh.glb"), ("still", "still.png"), ("cutout", "cutout.png"))


def _shown(**example: Any) -> ConfigDict:
    return ConfigDict(frozen=True, json_schema_extra={"examples": [example]})


class DetectedObject(BaseModel):
    """One thing in a photo that a job can be about."""

    model_config = ConfigDict(frozen=True)

    index: int
    label: str
    category: str
    bbox: Annotated[list[float], Field(min_length=4, max_length=4, description="x1, y1, x2, y2; origin top left")]
    score: float


class SessionCreated(BaseModel):
    """A photo and what is in it."""

    model_config = _shown(
        session_id=_SESSION_ID,
        source_url=f"{_URL}/artifacts/acme/{_SESSION_ID}/source.png{_SIGNED}",
        objects=[
            {"index": 0, "label": "camera", "category": "product", "bbox": [0.18, 0.12, 0.79, 0.93], "score": 0.91},
            {"index": 1, "label": "entire image (no crop)", "category": "full_frame", "bbox": [0, 0, 1, 1], "score": 1},
        ],
        credits_used=5,
        detect_elapsed_ms=412,
    )  # fmt: skip

    session_id: UUID
    source_url: str
    objects: list[DetectedObject]
    credits_used: int
    detect_elapsed_ms: int


class TransformRequest(JobOptions):
    """What to make of one object of a session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": _SESSION_ID,
                    "object_index": 0,
                    "background": {"type": "prompt", "prompt": "on a marble countertop with soft natural light"},
                    "camera_preset": "cinematic",
                }
            ]
        }
    )

    background: Annotated[TransparentBackground | PromptBackground | UrlBackground, Field(discriminator="type")]


class JobAccepted(BaseModel):
    """The job, queued."""

    model_config = _shown(
        job_id=_JOB_ID,
        status="queued",
        credits_used=75,
        events_url=f"{_URL}/jobs/{_JOB_ID}/events?account=acme&expires=1798000200&signature=3q2-7w",
    )

    job_id: UUID
    status: JobStatus
    credits_used: int
    events_url: str


class StepReport(BaseModel):
    """One step of a job."""

    model_config = ConfigDict(frozen=True)

    name: Step
    state: StepState
    started_at: datetime | None
    ended_at: datetime | None
    reused: bool
    fingerprint: str
    notice: str
    """Empty, or what was unusual, such as that another engine than the chosen one stood in."""


class MeshReport(BaseModel):
    """What was measured on the mesh."""

    model_config = ConfigDict(frozen=True)

    thin_axis_ratio: float
    verdict: Literal["volume", "thin", "slab"]
    watertight: bool
    triangles: int
    engine: str
    method: str
    front_yaw_degrees: float


class CameraReport(BaseModel):
    """What the camera did."""

    model_config = ConfigDict(frozen=True)

    preset: str
    arc_degrees: float
    clamped: bool


class JobFailure(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(frozen=True)

    step: Step
    code: str
    message: str


class Outputs(BaseModel):
    """Signed addresses of what the job made."""

    model_config = ConfigDict(frozen=True)

    video_url: str
    glb_url: str
    still_url: str
    cutout_url: str
    alpha_video_url: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None


class Result(BaseModel):
    """A job's whole life."""

    model_config = _shown(
        job_id=_JOB_ID,
        session_id=_SESSION_ID,
        status="succeeded",
        step="done",
        progress=1.0,
        steps=[
            {"name": "cropping", "state": "done", "started_at": _BEGUN, "ended_at": _ENDED,
             "reused": False, "fingerprint": "segment/embedded@1", "notice": ""},
        ],
        outputs={
            f"{name}_url": f"{_URL}/artifacts/acme/{_JOB_ID}/{file}{_SIGNED}"
            for name, file in _FILES
        },
        mesh={"thin_axis_ratio": 0.6, "verdict": "volume", "watertight": True, "triangles": 48213,
              "engine": "embedded", "method": "lathe", "front_yaw_degrees": 0.0},
        camera={"preset": "cinematic", "arc_degrees": 180.0, "clamped": False},
        crop_bbox=[0.12, 0.02, 0.85, 1.0],
        scene_note="a marble kitchen, as the words say",
        credits_used=75,
        credits_refunded=0,
        error=None,
        created_at=_BEGUN,
        started_at=_BEGUN,
        ended_at=_ENDED,
    )  # fmt: skip

    job_id: UUID
    session_id: UUID
    status: JobStatus
    step: Step
    progress: float
    steps: list[StepReport]
    outputs: Outputs | None
    mesh: MeshReport | None
    camera: CameraReport | None
    crop_bbox: list[float] | None
    scene_note: str
    credits_used: int
    credits_refunded: int
    error: JobFailure | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class LedgerEntry(BaseModel):
    """One thing that happened to an account's credits."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Literal["grant", "init", "hold", "capture", "release"]
    available: Annotated[int, Field(description="change of what can be spent")]
    held: Annotated[int, Field(description="change of what is set aside for jobs")]
    created_at: datetime


class Credits(BaseModel):
    """What an account has, and its latest entries, newest first."""

    model_config = _shown(
        balance=920,
        held=75,
        entries=[
            {
                "id": f"hold:{_JOB_ID}",
                "kind": "hold",
                "available": -75,
                "held": 75,
                "created_at": _BEGUN,
            }
        ],
    )

    balance: int
    held: int
    entries: list[LedgerEntry]


class Alive(BaseModel):
    """The process lives."""

    model_config = _shown(status="ok")

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether new work can be done here now."""

    model_config = _shown(
        status="ready",
        checks=dict.fromkeys(("database", "detect", "segment", "background", "mesh3d", "render"), True),
    )

    status: Literal["ready", "not ready"]
    checks: dict[str, bool]


class FieldRule(BaseModel):
    """A field, and the rule that it breaks."""

    field: str
    rule: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = _shown(
        type="about:blank",
        title="Unprocessable Entity",
        status=422,
        code="INVALID_ARGUMENT",
        detail="camera_preset: Input should be 'turntable', 'dolly' or 'cinematic'",
        errors=[{"field": "camera_preset", "rule": "Input should be 'turntable', 'dolly' or 'cinematic'"}],
        request_id="5f0c2f6f4f7b4d0f8a9f0e1d2c3b4a59",
    )

    type: Literal["about:blank"]
    title: str
    status: int
    code: Annotated[str, Field(description="stable, for programs")]
    detail: Annotated[str, Field(description="a sentence that a person can act on")]
    errors: list[FieldRule]
    request_id: str
