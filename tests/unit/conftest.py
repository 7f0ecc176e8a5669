"""What every unit test starts with."""

from __future__ import annotations

import pytest

from lensora.core import models


@pytest.fixture(autouse=True)
def no_models_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process remembers the models it opened, to notice when one is altered; tests alter theirs."""
    monkeypatch.setattr(models, "_opened", {})
