"""What a render engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from lensora.core.engines import Engine
from lensora.core.scene import Scene

FRAMES_PER_SECOND = 24
"""Of every film."""

MIN_SECONDS, MAX_SECONDS = 1.0, 12.0
"""Bounds of a film's length."""

CameraPreset = Literal["turntable", "dolly", "cinematic"]


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """A film of a mesh in a scene."""

    glb: bytes
    """glTF 2.0 binary, maybe a stranger's: nothing about it has been checked but its size."""

    scene: Scene
    preset: CameraPreset = "turntable"
    width: int = 1280
    """Pixels, even, 256 to 1920."""

    height: int = 720
    """Pixels, even, 256 to 1920."""

    duration_s: float = 5.0
    """Seconds; the film has ``round(24 · duration_s)`` frames."""

    seed: int = 0
    alpha: bool = False
    """Whether to make the film with alpha as well."""


@dataclass(frozen=True, slots=True)
class RenderResult:
    """The film, and what the camera did."""

    video: bytes
    """MP4: H.264 High, yuv420p, bt709 tags, limited range, 24 fps, moov before mdat, closed GOPs."""

    frames: int
    arc_degrees: float
    """How far the subject turned against the camera in all."""

    clamped: bool
    """True when a thin mesh's sweep was made a ±60° rocking arc."""

    front_yaw_degrees: float
    """The auto-orient turn about +Y that was applied before the first frame."""

    alpha_video: bytes | None = None
    """WebM: VP9 with straight alpha, the same frames without the plate, the shadow as black; only where asked for."""


class RenderEngine(Engine[RenderRequest, RenderResult], Protocol):
    """Draws the film.

    ``run`` raises ``InvalidArgument`` (field ``glb``) for a mesh it cannot trust, and ``Unimplemented`` (reason
    ``PRESET_UNIMPLEMENTED``) for a preset this engine has not got.
    """
