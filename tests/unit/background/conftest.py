"""Scenes that several tests look at, built once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from lensora.core.scene import Scene
from services.background.core.build import build_scene
from services.background.core.catalogue import PROMPTED, STUDIO
from services.background.core.noise import FloatArray
from services.background.core.sentences import Encoder


class Letters:
    """An encoder that counts letters: enough to test what does not depend on meaning."""

    def encode(self, text: str) -> FloatArray:
        """(27,) unit vector."""
        counts = np.bincount([ord(c) % 27 for c in text.lower()], minlength=27).astype(np.float32)
        return np.asarray(counts / np.linalg.norm(counts), np.float32)


@pytest.fixture(scope="session")
def letters() -> Encoder:
    """An encoder that needs no model."""
    return Letters()


@pytest.fixture(scope="session")
def scene() -> Callable[[str], Scene]:
    """Gives the scene of that name at 320 × 180."""
    specs = {spec.name: spec for spec in (STUDIO, *PROMPTED)}
    return functools.cache(lambda name: build_scene(specs[name], 320, 180, 0, NullContext().progress))


@pytest.fixture
def ball() -> NDArray[np.uint8]:
    """(200, 200, 4) a shaded ball with a soft edge, 180 pixels across."""
    y, x = np.mgrid[0:200, 0:200].astype(np.float32) - 99.5
    radius = np.hypot(x, y)
    alpha = np.clip(90.5 - radius, 0, 1) * 255
    shade = np.clip(200 - 0.6 * x - 0.6 * y, 0, 255)
    return np.dstack([shade, shade * 0.4, shade * 0.2, alpha]).astype(np.uint8)
