"""Seeded noise fields: the raw material of every surface and backdrop.

A field is one periodic tile with a power spectrum of our choosing (spectral synthesis; Peitgen & Saupe, "The
Science of Fractal Images", 1988, ch. 2) and its mip pyramid (Williams, "Pyramidal Parametrics", 1983), so that a
field is sampled without aliasing at any distance.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_TILE = 1024


class NoiseField:
    """A periodic random field of the plane with mean 0 and standard deviation 1."""

    def __init__(self, rng: np.random.Generator, slope: float, low: float = 1.0, high: float = _TILE / 2) -> None:
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
    @functools.lru_cache(maxsize=2)  # 22 MB each; most callers leave the seed at 0
    def from_seed(cls, seed: int) -> NoiseKit:
        """Build the four fields; about 0.3 s of CPU."""
        rng = np.random.default_rng([seed, 0x5CE7E])
        return cls(
            cloud=NoiseField(rng, 1.0),
            smooth=NoiseField(rng, 1.9, 3.0),
            swell=NoiseField(rng, 1.5, 3.0, 20.0),
            grain=NoiseField(rng, 0.25, 48.0),
            rng_seed=seed,
        )

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
