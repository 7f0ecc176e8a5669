"""Where a turned body ends, and how far from above the camera saw it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.rim import (
    MAX_FOOT_FLATTENING,
    MAX_RIM_FLATTENING,
    RimEllipse,
    fit_rim,
    lower_edge,
    rim_contrast,
)

FOOT_CUT = 0.03
"""Most of the height that is cut from a round bottom seen level so that the solid stands."""

FOOT_SHARE = 0.3
"""Radius that the cut tries to reach, as a share of the body's radius near the bottom."""

MIN_RIM_CONTRAST = 1.6
"""Strength of the picture's edges along a rim's near half over that beside it, from which there is an opening. Bowls
and cups measure 2 and more, domes about 1."""

MIN_WALL = 0.1
"""Least distance from rim to foot in the picture, as a share of the rim's radius: with less, the outline is a plain
ellipse, which may be a ball's as well as a plate's."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The body's two ends, in rows of the upright picture."""

    elevation: float
    """Of the camera above the horizon, radians."""

    foot_row: float
    """Of the foot's centre."""

    top_row: float
    """Of the lid's centre, or of the topmost point."""

    lid: bool
    """A flat top (or an opening, which comes out filled) rather than a round one."""


def find_ends(
    body: NDArray[np.floating], grey: NDArray[np.floating], radii: NDArray[np.floating], column: float
) -> Ends:
    """Read the camera's elevation off the foot, else off an open rim, and the body's ends with it.

    Args:
        body: (h, w) coverage of the upright body without its appendages, [0, 1].
        grey: (h, w) luma of the same picture, [0, 1].
        radii: (h,) section radius of every row, 0 where there is none.
        column: x of the axis.
    """
    rows = np.flatnonzero(radii > 0)
    first, last = int(rows[0]), int(rows[-1])
    quarter = max((last - first) // 4, 1)
    widest = float(radii[last - quarter : last + 1].max())
    foot = fit_rim(lower_edge(body, column), radii, widest, MAX_FOOT_FLATTENING)
    if foot is not None and foot.row - first < foot.half_height:
        foot = None
    widest = float(radii[first : first + quarter].max())
    rim = fit_rim(lower_edge(body[::-1], column), radii[::-1], widest, MAX_RIM_FLATTENING)
    top = len(radii) - rim.row if rim else float(first)
    if foot and rim and _same_camera(foot, rim) and foot.row - top >= MIN_WALL * rim.half_width:
        return Ends(math.asin((foot.flattening + rim.flattening) / 2), foot.row, top, lid=True)
    if rim and rim_contrast(grey, rim, top, column) >= MIN_RIM_CONTRAST:
        hidden = _hidden_foot_row(radii, rim.flattening)
        if hidden - top >= MIN_WALL * rim.half_width:
            return Ends(math.asin(rim.flattening), hidden, top, lid=True)
    if foot:
        return Ends(math.asin(foot.flattening), foot.row, float(first), lid=False)
    blunt = bool(radii[first] > FOOT_SHARE * radii.max())
    return Ends(0.0, _cut_row(radii, first, last), float(first), lid=blunt)


def _same_camera(foot: RimEllipse, rim: RimEllipse) -> bool:
    """A rim nearer to the eye's height is flatter than the foot, but not by much, and never much rounder."""
    return 0.35 <= rim.flattening / foot.flattening <= 1.4


def _cut_row(radii: NDArray[np.floating], first: int, last: int) -> float:
    """The row to stand on when the bottom is seen level: the lowest that is broad enough to stand on."""
    near_bottom = float(radii[last - (last - first) // 4 : last + 1].max())
    lowest = last - int(FOOT_CUT * (last - first))
    broad = np.flatnonzero(radii[lowest : last + 1] >= FOOT_SHARE * near_bottom)
    return float(lowest + broad[-1] + 1) if len(broad) else float(lowest)


def _hidden_foot_row(radii: NDArray[np.floating], sine: float) -> float:
    """The row of a foot whose edge merges into a round bottom: the first whose circle touches the lowest outline."""
    inscribed = inscribed_radii(radii, sine)
    rows = np.arange(len(radii)) + 0.5
    lowest = np.flatnonzero(radii > 0)[-1] + 1
    touches = (rows + sine * inscribed >= lowest - 0.5) & (radii > 0)
    return float(rows[touches][0])


def inscribed_radii(half_widths: NDArray[np.floating], sine: float) -> NDArray[np.float64]:
    """(h,) radius of the largest horizontal circle around the axis at every row that stays within the outline.

    Seen from above, the circle of radius r at row y is an ellipse: at t rows from its centre its half-width is
    √(r² - t² / sin²). It stays within half-widths w if r² ≤ w(y + t)² + t² / sin² for all t: a lower envelope of
    parabolas. Level, it is the half-width itself.

    Args:
        half_widths: (h,) of the outline, 0 where there is none.
        sine: of the camera's elevation.
    """
    if sine <= 0.0:
        return np.asarray(half_widths, dtype=np.float64)
    rows = np.arange(len(half_widths), dtype=np.float64)
    reach = ((rows[:, None] - rows[None, :]) / sine) ** 2
    return np.asarray(np.sqrt((np.asarray(half_widths)[None, :] ** 2 + reach).min(axis=1)))
