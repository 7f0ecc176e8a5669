"""What a segment engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Engine
from lensora.core.geometry import Box


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """A normalised photo and the subject chosen in it."""

    photo: NDArray[np.uint8]
    """(h, w, 3) 8-bit sRGB."""

    box: Box
    """The chosen proposal's box, not yet grown."""

    keep_all_parts: bool = False
    """True for ``full_frame``: every salient part stays, not only the one the box belongs to."""


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """The subject, cut out."""

    cutout: NDArray[np.uint8]
    """(crop h, crop w, 4) 8-bit sRGB with straight alpha. Where alpha is 255 the colour is the photo's own; along
    the soft edge it is the estimated foreground colour; where alpha is 0 it continues the subject's edge colours."""

    crop: Box
    """The box grown by ``CROP_MARGIN`` and clamped, snapped to whole pixels of the photo."""


class SegmentEngine(Engine[SegmentRequest, SegmentResult], Protocol):
    """Cuts the chosen subject out of the photo.

    ``run`` reports the phases ``cropping`` and ``removing-bg``, and raises ``FailedPrecondition`` with reason
    ``NO_SUBJECT`` when nothing in the box stands out.
    """
