"""Seeded noise fields: the raw material of every surface and backdrop.

A field is one periodic tile with a power spectrum of our choosing (spectral synthesis; Peitgen & Saupe, "The
Science of Fractal Images", 1988, ch. 2) and its mip pyramid (Williams, "Pyramidal Parametrics", 1983), so that a
field is sampled without aliasing at any distance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

Check = Callable[[], None]
"""Called now and then during long work; raises if the work is no longer wanted."""

_TILE = 1024


def nothing() -> None:
    """The check of who wants the work to the end."""


class NoiseField:
    """A periodic random field of the plane with mean 0 and standard deviation 1."""

    def __init__(self, rng: np.random.Generator, slope: float, low: float, high: float) -> None:
        """Synthesise the tile.

        Args:
            rng: source of the phases; the same state gives the same field.
            slope: amplitude falls as frequency to the power ``-slope``: 0 is white, 1 cloudy, 1.6 smooth.
            low: cycles per tile below which there is nothing.
            high: cycles per tile above which there is nothing.
        """
        fy = np.fft.fftfreq(_TILE)[:, None] * _TILE
        fx = np.fft.rfftfreq(_TILE)[None, :] * _TILE
        frequency = np.hypot(fx, fy)
        falling = np.maximum(frequency, 1.0) ** -slope
        amplitude = np.where((frequency >= low) & (frequency <= high), falling, 0.0).astype(np.float32)
        white = rng.standard_normal((_TILE, _TILE), dtype=np.float32)
        tile = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(_TILE, _TILE))
        tile = (tile / tile.std()).astype(np.float32)
        self._mips = [tile]
        while self._mips[-1].shape[0] > 4:
            half = self._mips[-1].shape[0] // 2
            self._mips.append(cv2.resize(self._mips[-1], (half, half), interpolation=cv2.INTER_AREA))

    def sample(self, u: FloatArray, v: FloatArray, footprint: float) -> FloatArray:
        """Trilinear samples.

        Args:
            u: (h, w) float32, coordinate along the tile's rows, in tiles.
            v: (h, w) float32, coordinate down the tile's columns, in tiles.
            footprint: distance between neighbouring samples, in tiles; finer detail is averaged away.

        Returns:
            (h, w) float32.
        """
        u, v = u - np.floor(u), v - np.floor(v)
        level = min(max(math.log2(max(footprint * _TILE, 1e-6)), 0.0), len(self._mips) - 1.001)
        fine = int(level)
        sampled = self._level(fine, u, v)
        if level > fine:
            sampled += (level - fine) * (self._level(fine + 1, u, v) - sampled)
        return sampled

    def _level(self, level: int, u: FloatArray, v: FloatArray) -> FloatArray:
        tile = self._mips[level]
        size = tile.shape[0]
        # half a texel: mip levels share their tile's corner, not their first texel's centre
        columns, rows = (u * np.float32(size) - np.float32(0.5), v * np.float32(size) - np.float32(0.5))
        return np.asarray(cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


@functools.lru_cache(maxsize=8)  # 5.6 MB each, four a seed; most callers leave the seed at 0
def _field(seed: int, index: int, slope: float, low: float, high: float) -> NoiseField:
    return NoiseField(np.random.default_rng([seed, index]), slope, low, high)


_SPECTRA = {
    "cloud": (1.0, 1.0, _TILE / 2),
    "smooth": (1.9, 3.0, _TILE / 2),
    "swell": (1.5, 3.0, 20.0),
    "grain": (0.25, 48.0, _TILE / 2),
}
"""Slope, lowest and highest frequency of each field of a ``NoiseKit``."""


@dataclass(frozen=True)
class NoiseKit:
    """The fields that surfaces and backdrops are painted with, all from one seed."""

    cloud: NoiseField
    """1/f: equally rough at every scale."""

    smooth: NoiseField
    """Rolling, with a little detail: warps, veins, folds and slow drifts; its waves are a third of a tile or less."""

    swell: NoiseField
    """Waves a third to a twentieth of a tile long and nothing finer: even its slopes are smooth."""

    grain: NoiseField
    """Fine and even: sand, pores, fibres."""

    rng_seed: int

    @classmethod
    def from_seed(cls, seed: int, check: Check = nothing) -> NoiseKit:
        """Build the four fields, about 0.3 s of CPU, or take them from the last use; ``seed`` in [0, 2⁶⁴).

        ``check`` is called between them.
        """
        fields: dict[str, NoiseField] = {}
        for index, (name, spectrum) in enumerate(_SPECTRA.items()):
            fields[name] = _field(seed, index, *spectrum)
            check()
        return cls(**fields, rng_seed=seed)

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for one ``purpose``, so that adding a use never shifts another's numbers."""
        return np.random.default_rng([self.rng_seed, purpose])


def smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    """Hermite step from 0 at ``low`` to 1 at ``high``; ``low > high`` steps down."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def mix(a: FloatArray, b: FloatArray, t: FloatArray) -> FloatArray:
    """Colours (..., 3) ``a`` where ``t`` (...) is 0 and ``b`` where it is 1; ``a``, ``b`` may be single colours."""
    return np.asarray(a + (b - a) * t[..., None], dtype=np.float32)
