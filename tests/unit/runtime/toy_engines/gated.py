"""Loads only once the test says so."""

from __future__ import annotations

from typing import Any

from .scripted import Scripted, events


def create(settings: Any) -> Scripted:
    """Wait for the gate."""
    if not events["gate"].wait(10):
        raise TimeoutError("the test forgot its gate")
    return Scripted(settings)
