"""Detection on the CPU, without downloads beyond U²-Net-p: every object that stands out, none of them named."""

from __future__ import annotations

from lensora.core import models
from lensora.core.engines import Context
from lensora.core.errors import InvalidArgument
from lensora.core.photo import decode
from lensora.core.saliency import Saliency
from services.detect.core.proposals import propose
from services.detect.engine import MAX_OBJECTS, MIN_OBJECTS, DetectRequest, DetectResult
from services.detect.settings import Settings


class Embedded:
    """Decode, look, propose."""

    name = "embedded"
    version = "1"

    def __init__(self, saliency: Saliency) -> None:
        self._saliency = saliency

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
        context.progress(0.4, "looking")
        saliency = self._saliency.map(photo)
        context.progress(0.95, "proposing")
        return DetectResult(photo, propose(saliency, request.max_objects))


def create(settings: Settings) -> Embedded:
    """Load the network.

    Raises:
        ModelMissing, ModelAltered: U²-Net-p is not there or not whole; the message says how to fetch it.
    """
    return Embedded(Saliency(models.path("u2netp"), settings.engine_threads))
