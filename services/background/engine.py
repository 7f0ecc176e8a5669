"""What a background engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Engine
from lensora.core.scene import Scene


@dataclass(frozen=True, slots=True)
class StudioBackdrop:
    """``transparent`` of the contract: a neutral studio, since H.264 has no alpha."""


@dataclass(frozen=True, slots=True)
class PromptBackdrop:
    """``prompt`` of the contract."""

    prompt: str
    """1 to 1,000 characters, no control characters."""


@dataclass(frozen=True, slots=True)
class PictureBackdrop:
    """``picture`` of the contract, and ``url`` once it is fetched."""

    data: bytes
    """A stranger's JPEG, PNG or WebP; nothing about it has been checked."""

    field: str
    """What to call it in an error, e.g. ``background.picture``."""

    title: str
    """For people: "your own picture"."""


@dataclass(frozen=True, slots=True)
class SceneRequest:
    """An empty scene for a film of this size."""

    backdrop: StudioBackdrop | PromptBackdrop | PictureBackdrop
    width: int
    """Pixels, even, 256 to 1920."""

    height: int
    """Pixels, even, 256 to 1920."""

    seed: int = 0


@dataclass(frozen=True, slots=True)
class SceneResult:
    """The scene, and how it was chosen."""

    scene: Scene
    exact: bool
    """False when no scene fits the words well and the nearest was taken."""

    note: str
    """A sentence for people: what was chosen, and that it is only the nearest if so."""


@dataclass(frozen=True, slots=True)
class ComposeRequest:
    """A still of this cut-out in this scene."""

    cutout: NDArray[np.uint8]
    """(h, w, 4) 8-bit sRGB, straight alpha."""

    scene: Scene


@dataclass(frozen=True, slots=True)
class ComposeResult:
    """The composited still."""

    still: NDArray[np.uint8]
    """(plate h, plate w, 3) 8-bit sRGB: the cut-out's own pixels at the scene's placement, with contact shadow."""


class BackgroundEngine(Engine[SceneRequest | ComposeRequest, SceneResult | ComposeResult], Protocol):
    """Builds scenes, and stills in them: a ``SceneRequest`` gives a ``SceneResult``, a ``ComposeRequest`` a
    ``ComposeResult``.

    ``run`` raises ``FailedPrecondition`` with reason ``NO_SUBJECT`` for an empty cut-out, and ``InvalidArgument`` for a
    picture that is not one within bounds.
    """
