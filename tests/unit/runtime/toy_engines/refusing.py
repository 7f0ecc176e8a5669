"""Cannot load, and says why."""

from __future__ import annotations

from typing import Any, NoReturn

from lensora.core.errors import FailedPrecondition


def create(_: Any) -> NoReturn:
    """Say why."""
    raise FailedPrecondition("the model is missing; run the fetch command", reason="MODEL_MISSING")
