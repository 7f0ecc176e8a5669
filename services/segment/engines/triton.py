"""Segmentation as the embedded engine does it, with the network in Triton."""

from __future__ import annotations

from lensora.core.errors import FailedPrecondition
from lensora.core.saliency import Saliency
from lensora.runtime.hosted import Hosted, connect
from services.segment.engines import embedded
from services.segment.settings import Settings


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet.

    Raises:
        FailedPrecondition: the settings ask for a matte that Triton does not have.
        ModelMissing, ModelAltered: the embedded engine shall stand in, and its model is not there or not whole.
    """
    if settings.matte != "u2netp":
        raise FailedPrecondition(
            f"Triton has no model for SEGMENT_MATTE={settings.matte}; choose u2netp, or SEGMENT_ENGINE=embedded",
            reason="MATTE_NOT_HOSTED",
        )
    network = connect(settings)("saliency_u2netp", "planes", "map")
    pipeline = embedded.Embedded(Saliency(network), settings.matte)
    return Hosted(pipeline, (network,), embedded.create(settings) if settings.triton_fallback else None)
