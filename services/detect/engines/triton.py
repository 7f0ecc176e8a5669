"""Detection as the embedded engine does it, with the networks in Triton."""

from __future__ import annotations

from lensora.core.saliency import Saliency
from lensora.runtime.hosted import Hosted, connect
from services.detect.core.classifier import Classifier
from services.detect.core.detector import Detector
from services.detect.engines import embedded
from services.detect.settings import Settings


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet.

    Raises:
        ModelMissing, ModelAltered: the embedded engine shall stand in, and its models are not there or not whole.
    """
    remote = connect(settings)
    saliency = remote("saliency_u2netp", "planes", "map")
    detector = remote("detect_ssd", "picture", "rows")
    classifier = remote("classify_efficientnet", "picture", "steps")
    pipeline = embedded.Embedded(Saliency(saliency), Detector(detector), Classifier(classifier))
    spare = embedded.create(settings) if settings.triton_fallback else None
    return Hosted(pipeline, (saliency, detector, classifier), spare)
