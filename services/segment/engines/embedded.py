"""Segmentation on the CPU: U²-Net-p or IS-Net says what, closed-form matting says where exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core import models
from lensora.core.engines import Context
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import CROP_MARGIN, Box
from lensora.core.networks import Onnx
from lensora.core.saliency import Saliency
from services.segment.core.cutout import cut
from services.segment.core.isnet import IsNet
from services.segment.core.subject import Subject, inside, isolate, within
from services.segment.engine import SegmentRequest, SegmentResult
from services.segment.settings import Settings

GOOD_AGREEMENT = 0.75
"""From this on, the map of the crop alone has found the chosen subject."""

WIDER_MARGINS = (0.5, 2.0)
"""How much of the surroundings the network sees in turn, when the crop alone does not show it what stands out."""


_VERSION = "2"

Cut = Callable[[NDArray[np.uint8], NDArray[np.float32], Context], NDArray[np.uint8]]
"""From a crop and a map of the subject in it to the cut-out."""


class Map(Protocol):
    """A network that says what stands out: ``Saliency``, ``IsNet`` or another's."""

    def map(self, photo: NDArray[np.uint8], context: Context) -> NDArray[np.float32]:
        """See ``Saliency.map``; any resolution."""


class Embedded:
    """Crop, look, choose, cut."""

    name = "embedded"

    def __init__(self, saliency: Map, matte: str, cut: Cut = cut) -> None:
        self._saliency, self._cut = saliency, cut
        self.version = _VERSION if matte == "u2netp" else f"{_VERSION}-{matte}"

    def run(self, request: SegmentRequest, context: Context) -> SegmentResult:
        """See ``SegmentEngine``.

        Raises:
            FailedPrecondition: reason ``NO_SUBJECT``; nothing in the box stands out.
        """
        context.progress(0.0, "cropping")
        height, width = request.photo.shape[:2]
        left, top, right, bottom = request.box.grown(CROP_MARGIN).pixels(width, height)
        context.progress(0.1, "removing-bg")
        subject = self.find(request, context)
        cutout = self._cut(request.photo[top:bottom, left:right], subject.saliency, context)
        return SegmentResult(cutout, Box(left / width, top / height, right / width, bottom / height))

    def find(self, request: SegmentRequest, context: Context) -> Subject:
        """The subject in the crop, as the network sees it with as much of the surroundings as it takes.

        Raises:
            FailedPrecondition: as ``run`` does.
        """
        height, width = request.photo.shape[:2]
        left, top, right, bottom = request.box.grown(CROP_MARGIN).pixels(width, height)
        crop = Box(left / width, top / height, right / width, bottom / height)
        best, seen = None, set()
        for margin in (CROP_MARGIN, *WIDER_MARGINS):
            window = crop if margin == CROP_MARGIN else request.box.grown(margin)
            if window in seen:
                break
            seen.add(window)
            saliency = within(self._look(request.photo, window, context), inside(crop, window))
            found = isolate(saliency, inside(request.box, crop), keep_all_parts=request.keep_all_parts)
            if found is not None and (best is None or found.agreement > best.agreement):
                best = found
            if best is not None and (request.keep_all_parts or best.agreement >= GOOD_AGREEMENT):
                break
            context.check()
        if best is None:
            raise FailedPrecondition(
                "nothing in the chosen box stands out from its surroundings; choose another box, or a photo in which "
                "the subject differs more from the background",
                reason="NO_SUBJECT",
            )
        return best

    def _look(self, photo: NDArray[np.uint8], window: Box, context: Context) -> NDArray[np.float32]:
        left, top, right, bottom = window.pixels(photo.shape[1], photo.shape[0])
        return self._saliency.map(photo[top:bottom, left:right], context)


def create(settings: Settings) -> Embedded:
    """Load the network that the settings name, and never another in its place.

    Raises:
        ModelMissing, ModelAltered: it is not there or not whole; the message says how to fetch it.
    """
    network = Onnx(models.path(settings.matte), settings.engine_threads)
    return Embedded((IsNet if settings.matte == "isnet" else Saliency)(network), settings.matte)
