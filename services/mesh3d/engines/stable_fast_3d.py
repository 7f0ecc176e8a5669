"""Stable Fast 3D in Triton; it draws nothing at random, so there is nothing to try again."""

from __future__ import annotations

from lensora.runtime.hosted import Hosted
from services.mesh3d.engines._generated import hosted
from services.mesh3d.settings import Settings

GUIDANCES = (None,)
"""Of the first stage, one an attempt; None is the network's own."""


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet."""
    return hosted("stable_fast_3d", GUIDANCES, settings)
