"""TRELLIS.2 in Triton; a slab is tried again with less guidance and another seed."""

from __future__ import annotations

from lensora.runtime.hosted import Hosted
from services.mesh3d.engines._generated import hosted
from services.mesh3d.settings import Settings

GUIDANCES = (None, 5.0, 3.0)
"""Of the first stage, one an attempt; None is the network's own."""


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet."""
    return hosted("trellis2", GUIDANCES, settings)
