"""Stands on a file, and says so when it is gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lensora.core.errors import Unavailable

from .scripted import Scripted


class Watched(Scripted):
    """See the module; the file is named by ``$TOY_FILE``."""

    def check(self) -> None:
        """See ``lensora.core.engines.Checked``."""
        if Path(os.environ["TOY_FILE"]).read_text() == "crash":
            os._exit(1)
        if Path(os.environ["TOY_FILE"]).read_text() != "well":
            raise Unavailable("the file is not well", reason="TOY_ILL")
        self.version = "3-checked"


def create(settings: Any) -> Watched:
    """Load nothing."""
    return Watched(settings)
