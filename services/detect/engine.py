"""What a detect engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Engine
from lensora.core.geometry import Box

MIN_OBJECTS, MAX_OBJECTS, DEFAULT_OBJECTS = 2, 8, 6
"""Bounds and default of ``max_objects``."""


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """A stranger's upload; nothing about it has been checked but its size."""

    image: bytes
    """A JPEG, PNG or WebP file, at most 20 MB."""

    max_objects: int = DEFAULT_OBJECTS
    """The most foreground proposals wanted; ``full_frame`` is not counted."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One thing in the photo that a person may want."""

    label: str
    """``object`` where the engine would have to guess."""

    category: str
    """``object``, ``product``, ``person``, ``animal``, ``vehicle``, ``food``, ``plant``, ``furniture``, ``scene`` or
    ``full_frame``."""

    box: Box
    """Normalised, in the upright photo."""

    score: float
    """Confidence in [0, 1]."""


@dataclass(frozen=True, slots=True)
class DetectResult:
    """The normalised photo, which all later stages use, and the proposals in it."""

    photo: NDArray[np.uint8]
    """(h, w, 3) 8-bit sRGB, upright, without alpha."""

    proposals: tuple[Proposal, ...]
    """Best first; the last one is always ``full_frame``."""


class DetectEngine(Engine[DetectRequest, DetectResult], Protocol):
    """Decodes and normalises one upload, and proposes subjects.

    ``run`` raises ``InvalidArgument`` (field ``image``) for anything that is not a picture within bounds.
    """
