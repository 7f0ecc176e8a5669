"""A round edge seen from above: its near half is half an ellipse, whose flattening tells the camera's elevation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.silhouette import OPAQUE

MIN_FLATTENING = 0.03
"""Minor over major axis below which an edge is a straight line: the camera is level with it."""

MAX_FOOT_FLATTENING = 0.6
"""Above this (37° of elevation) a round bottom is a ball's or a bowl's rather than a foot's edge."""

MAX_RIM_FLATTENING = 0.85
"""Above this (58° of elevation) too little of the wall below a rim is seen to tell its height."""

FIT_SHARE = 0.92
"""Share of the half-width that takes part in the fit; nearer to the ends the outline is too steep to read."""

MAX_RESIDUAL = 0.08
"""Root mean square error of the fit, as a share of the minor half-axis. An edge with rounded corners seen level, flat
in the middle, misses it by three times this."""


@dataclass(frozen=True, slots=True)
class RimEllipse:
    """The half-ellipse of a round horizontal edge."""

    row: float
    """y of its centre: where the circle's plane meets the axis; pixels."""

    half_width: float
    """Major half-axis: the circle's radius, pixels."""

    half_height: float
    """Minor half-axis, pixels."""

    @property
    def flattening(self) -> float:
        """Minor over major axis: the sine of the camera's elevation."""
        return self.half_height / self.half_width


def lower_edge(alpha: NDArray[np.floating], column: float) -> NDArray[np.float64]:
    """Y of the lower outline at 0.5, 1.5, ... pixels from the axis, the mean of both sides; NaN past the outline.

    Args:
        alpha: (h, w) coverage in [0, 1].
        column: x of the mirror axis.
    """
    inside = alpha >= OPAQUE
    height = alpha.shape[0]
    last = height - 1 - inside[::-1].argmax(axis=0)
    columns = np.arange(alpha.shape[1])
    after = np.where(last + 1 < height, alpha[np.minimum(last + 1, height - 1), columns], 0.0)
    edge = np.where(inside.any(axis=0), last + alpha[last, columns] + after, np.nan)
    reach = np.arange(0.5, min(column, alpha.shape[1] - column))
    right = np.interp(column + reach, columns + 0.5, edge)
    left = np.interp(column - reach, columns + 0.5, edge)
    return np.asarray((left + right) / 2)


def fit_rim(
    edge: NDArray[np.floating], half_widths: NDArray[np.floating], start: float, max_flattening: float
) -> RimEllipse | None:
    """Fit the near half of a round edge to a lower outline.

    Alternates between the ellipse's height and centre (linear least squares) and its half-width, which is the
    outline's own at the centre's row: only there does a true edge turn into the wall.

    Args:
        edge: (n,) y of the lower outline at 0.5, 1.5, ... pixels from the axis.
        half_widths: (h,) half-width of the outline in each row, 0 where there is none.
        start: first guess of the half-width.
        max_flattening: the roundest ellipse to believe in.

    Returns:
        The ellipse, or None when the outline's bottom is not one.
    """
    distance = np.arange(len(edge)) + 0.5
    half_width, row, half_height, residual = start, 0.0, 0.0, np.inf
    for _ in range(12):
        used = (distance < FIT_SHARE * half_width) & np.isfinite(edge)
        if used.sum() < 6:
            return None
        design = np.stack([np.ones(int(used.sum())), np.sqrt(1 - (distance[used] / half_width) ** 2)], axis=1)
        (row, half_height), *_ = np.linalg.lstsq(design, edge[used], rcond=None)
        residual = float(np.sqrt(np.mean((design @ (row, half_height) - edge[used]) ** 2)))
        if not 0.5 <= row < len(half_widths) - 0.5:
            return None
        half_width = float(np.interp(row, np.arange(len(half_widths)) + 0.5, half_widths))
        if half_width < 4.0:
            return None
    ellipse = RimEllipse(row=float(row), half_width=half_width, half_height=float(half_height))
    close = residual <= max(0.6, MAX_RESIDUAL * half_height)
    return ellipse if close and MIN_FLATTENING <= ellipse.flattening <= max_flattening else None


def rim_contrast(grey: NDArray[np.floating], rim: RimEllipse, row: float, column: float) -> float:
    """How much stronger the picture's edges are along the near half of an upper rim than just above and below it.

    Tells an opening or a flat lid, whose near edge is drawn inside the outline, from a dome, which has none.

    Args:
        grey: (h, w) luma in [0, 1].
        rim: the ellipse of the upper outline.
        row: y of its centre in ``grey``.
        column: x of the axis.
    """
    across = np.linspace(-0.8, 0.8, 161) * rim.half_width
    near = row + rim.half_height * np.sqrt(1 - (across / rim.half_width) ** 2)
    steps = np.abs(np.gradient(np.asarray(grey, dtype=np.float64), axis=0))
    columns = np.clip(column + across, 0, grey.shape[1] - 1).astype(int)
    reach = max(round(0.4 * rim.half_height), 4)

    def strength(offset: int) -> float:
        return float(steps[np.clip(near + offset, 0, len(grey) - 1).astype(int), columns].mean())

    on = max(strength(offset) for offset in range(-2, 3))
    beside = np.mean([strength(offset) for offset in (-reach, -reach // 2 - 1, reach // 2 + 1, reach)])
    return on / max(float(beside), 1 / 255)
