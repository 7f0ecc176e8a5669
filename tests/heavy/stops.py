"""The models' classes without Triton, by the Python that has torch: ``python stops.py FOLDER``, with the
tree and the stand-ins on its path.

Says one JSON object: how often each was heard before it obeyed, and how much half precision changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lensora.core.errors import Cancelled
from lensora.serving.matting import BiRefNet
from lensora.serving.painting import Painter
from lensora.serving.sculpting import StableFast3d
from lensora.serving.vocabulary import Florence

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
DEPTH = np.tile(np.arange(64, dtype=np.uint8)[:, None] * 4, (1, 96))


def paint(painter: Painter, report: Callable[[float, str], None]) -> Any:
    return painter.paint("a table", (96, 64), seed=1, steps=4, depth=DEPTH, strength=0.6, report=report)


def calls_until_stopped(run: Callable[[Callable[[float, str], None]], object]) -> int:
    """How often ``run`` reports, when the second report says that nobody waits any more."""
    heard = 0

    def report(_fraction: float, _phase: str) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            raise Cancelled("enough")

    try:
        run(report)
    except Cancelled:
        return heard
    return -1


def main(home: Path) -> None:
    """Run each class to its second report, and the drawn ones in half precision."""
    whole = torch.float32
    cut = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    painter = Painter(home / "sdxl", "cpu", whole, home / "control")
    matting = BiRefNet(home / "birefnet", "cpu", whole, 64)
    florence = Florence(home / "florence", "cpu", whole)
    stopped = {
        "florence": calls_until_stopped(lambda report: florence.find(PHOTO, 4, report)),
        "birefnet": calls_until_stopped(lambda report: matting.alpha(PHOTO, report)),
        "painter": calls_until_stopped(lambda report: paint(painter, report)),
        "sf3d": calls_until_stopped(
            lambda report: StableFast3d(home / "sf3d", "cpu", 0.0).sculpt(cut, seed=0, guidance=None, report=report)
        ),
    }
    # and after that they work as if nothing had happened
    silent = lambda _fraction, _phase: None  # noqa: E731
    alpha, picture = matting.alpha(PHOTO, silent), paint(painter, silent)
    half = {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        matte = BiRefNet(home / "birefnet", "cpu", dtype, 64).alpha(PHOTO, silent)
        drawn = paint(Painter(home / "sdxl", "cpu", dtype, home / "control"), silent)
        half[name] = {
            "matte_error": float(np.abs(matte.astype(float) - alpha).mean() / 255),
            "painting_error": float(np.abs(drawn.astype(float) - picture).mean() / 255),
        }
    print(json.dumps({"calls_until_stopped": stopped, "half": half}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
