"""Detection in free words: Florence-2 in Triton says what is there and where."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.errors import InvalidArgument
from lensora.core.geometry import Box
from lensora.core.photo import decode
from lensora.runtime.hosted import Hosted, Share, Streaming, connect
from services.detect.core.phrases import category
from services.detect.core.proposals import MIN_AREA, SAME, WHOLE
from services.detect.engine import MAX_OBJECTS, MIN_OBJECTS, DetectRequest, DetectResult, Proposal
from services.detect.engines import embedded
from services.detect.settings import Settings

NAME = "open_vocabulary"
MODEL = "detect_open_vocabulary"

SIDE = 1024
"""The model sees 768 pixels a side: more need not travel."""

SPARE = 4
"""How many more regions are asked for than wanted, since some repeat others."""

MAX_AREA = 0.98
"""Share of the picture from which a region is the whole of it."""


class OpenVocabulary:
    """Decode, describe, choose."""

    name = NAME
    version = "1"

    def __init__(self, network: Streaming) -> None:
        self._network = network

    def run(self, request: DetectRequest, context: Context) -> DetectResult:
        """See ``DetectEngine``.

        Raises:
            InvalidArgument: field ``image`` (reasons in ``upload.inspect``), or ``max_objects`` out of bounds.
        """
        if not MIN_OBJECTS <= request.max_objects <= MAX_OBJECTS:
            raise InvalidArgument.of(
                "max_objects", f"{MIN_OBJECTS} to {MAX_OBJECTS}, not {request.max_objects}", reason="OUT_OF_RANGE"
            )
        context.progress(0.0, "decoding")
        photo = decode(request.image, context)
        limit = {"limit": SPARE * request.max_objects}
        said = self._network.stream({"photo": _smaller(photo)}, limit, context, Share("detecting", 0.3, 0.95))
        return DetectResult(photo, (*_chosen(said, request.max_objects), WHOLE))


def _smaller(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = SIDE / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _chosen(said: Any, most: int) -> list[Proposal]:
    """The surest regions, of those about the same thing one."""
    found: list[Proposal] = []
    for corners, score, label in zip(said["boxes"], said["scores"], said["labels"], strict=True):
        x1, y1, x2, y2 = (float(value) for value in np.clip(corners, 0.0, 1.0))
        if not (x1 < x2 and y1 < y2):
            continue
        box = Box(x1, y1, x2, y2)
        if MIN_AREA <= box.area < MAX_AREA and all(box.iou(better.box) < SAME for better in found):
            words = bytes(label).decode(errors="replace")
            found.append(Proposal(words, category(words), box, round(float(np.clip(score, 0.0, 1.0)), 4)))
    return found[:most]


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet.

    Raises:
        ModelMissing, ModelAltered: the embedded engine shall stand in, and its models are not there or not whole.
    """
    network = connect(settings)(MODEL, "", "")
    spare = embedded.create(settings) if settings.triton_fallback else None
    return Hosted(OpenVocabulary(network), (network,), spare, NAME)
