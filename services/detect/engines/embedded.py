"""Detection on the CPU: what stands out (U²-Net-p) and what is known (SSD), named by a classifier (EfficientNet)."""

from __future__ import annotations

import cv2

from lensora.core import models
from lensora.core.engines import Context
from lensora.core.errors import InvalidArgument
from lensora.core.geometry import CROP_MARGIN
from lensora.core.networks import LiteRt, Onnx, Ssd
from lensora.core.photo import decode
from lensora.core.saliency import Saliency
from services.detect.core import naming
from services.detect.core.classifier import Classifier
from services.detect.core.detector import Detector
from services.detect.core.proposals import WHOLE, propose
from services.detect.engine import MAX_OBJECTS, MIN_OBJECTS, DetectRequest, DetectResult, Proposal
from services.detect.settings import Settings


class Embedded:
    """Decode, look, detect, propose, name."""

    name = "embedded"
    version = "3"

    def __init__(self, saliency: Saliency, detector: Detector, classifier: Classifier) -> None:
        self._saliency, self._detector, self._classifier = saliency, detector, classifier

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
        saliency = self._saliency.map(photo, context)
        context.progress(0.7, "detecting")
        subjects = propose(saliency, self._detector.find(photo, context), request.max_objects)
        context.progress(0.8, "naming")
        named = []
        for subject in subjects:
            # two views, tight and as the later stages crop it: their mean is less often wrong than the crop alone
            views = [subject.box.grown(margin) for margin in (0.0, CROP_MARGIN)]
            probabilities = self._classifier.probabilities(photo, views, context).mean(axis=0)
            label, category = naming.name(subject.detection, probabilities)
            named.append(Proposal(label, category, subject.box, subject.score))
            context.check()
        return DetectResult(photo, (*named, WHOLE))


def create(settings: Settings) -> Embedded:
    """Load the networks; OpenCV's threads are set for the whole process.

    Raises:
        ModelMissing, ModelAltered: a model is not there or not whole; the message says how to fetch it.
    """
    cv2.setNumThreads(settings.engine_threads)
    return Embedded(
        Saliency(Onnx(models.path("u2netp"), settings.engine_threads)),
        Detector(Ssd(models.path("ssd-mobilenet-v2"), models.path("ssd-mobilenet-v2-text"))),
        Classifier(LiteRt(models.path("efficientnet-lite3"), settings.engine_threads)),
    )
