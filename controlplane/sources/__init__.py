"""Where a mesh is configured, and where its instances are found; one kind a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Source(Protocol):
    """Feeds ``State`` for as long as it runs."""

    async def run(self) -> None:
        """Watch for ever; trouble is told to the state and outlived."""

    async def set_weights(self, service: str, weights: Mapping[str, int]) -> None:
        """Write other weights where the mesh is configured, so that every replica hears of them.

        Raises:
            LensoraError: they break a rule, or cannot be written.
        """
