"""The embedded engine as a later version would be, for a canary: the same work, under a name of its own."""

from __future__ import annotations

from services.mesh3d.engines import embedded
from services.mesh3d.settings import Settings


class NewerEngine(embedded.EmbeddedEngine):
    """Tells itself apart."""

    name = "newer"


def create(settings: Settings) -> NewerEngine:
    """The engine, with its libraries loaded."""
    embedded.create(settings)
    return NewerEngine()
