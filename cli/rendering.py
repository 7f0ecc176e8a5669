"""Whether the render service's own OpenGL works here: ``python -m cli.rendering`` draws four pixels and says on what.

A process of its own, because a driver that is broken may end the process that asks it.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from services.render.core.gpu import Gpu

_GREY = 128
_LUMA = 16 + 219 * _GREY / 255
"""What the film's luma pass makes of it: ITU-R BT.709, limited range."""


def main() -> int:
    """Print one JSON object with OpenGL's name and version of itself; raises where it cannot draw."""
    gpu = Gpu()
    target = gpu.canvas((2, 2), 1, "f1")
    gpu.set("luma", picture=gpu.picture(np.full((2, 2, 3), _GREY, np.uint8), srgb=False))
    gpu.cover("luma", target.framebuffer)
    drawn = np.frombuffer(target.framebuffer.read(components=1), np.uint8)
    if np.abs(drawn - _LUMA).max() > 1:
        raise RuntimeError(f"OpenGL drew {drawn.tolist()} where it should draw {_LUMA:.0f} four times")
    json.dump({"renderer": gpu.context.info["GL_RENDERER"], "version": gpu.context.info["GL_VERSION"]}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
