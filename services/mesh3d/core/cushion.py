"""Solids for outlines that no rule explains: inflated in front, flatter behind, cut level at the foot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.fold import fold_around_outline
from services.mesh3d.core.inflation import Inflation, inflate
from services.mesh3d.core.silhouette import Silhouette
from services.mesh3d.core.solid import Array, View, sample_rows

FRONT_DEPTH = 0.85
"""Depth of the front over the half-width: subjects are posed with their broad side to the camera."""

BACK_DEPTH = 0.65
"""The same of the back: an unseen side is more often flat than bulging."""

FOOT_CUT = 0.025
"""Share of the height below the ground, so that a round bottom has something to stand on."""


@dataclass(frozen=True, slots=True, eq=False)
class Cushion:
    """An inflated outline; the origin is its foot's middle."""

    view: View
    bounds: NDArray[np.float64]
    inflation: Inflation
    """Working pixels."""

    origin: tuple[float, float]
    """(x, y) of the object's origin in the working picture."""

    flats: tuple[float, ...] = (0.0,)
    method: str = "inflation"

    def field(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        """See ``Solid``."""
        columns, rows = self.origin[0] + x, self.origin[1] - y
        height_squared = sample_rows(self.inflation.height_squared, rows, columns).T
        steepness = np.gradient(height_squared, x, axis=0) ** 2 + np.gradient(height_squared, y, axis=1) ** 2
        stretch = 1 / np.where(z < 0, BACK_DEPTH, FRONT_DEPTH)
        depth_squared = ((stretch * z) ** 2).astype(np.float32)[None, None, :]
        # h(x, y)² - z² over its gradient: finite at the outline, where the height itself is vertical
        gradient = np.sqrt(steepness[:, :, None] + 4 * depth_squared * (stretch**2)[None, None, :] + 1.0)
        inside = (height_squared[:, :, None] - depth_squared) / gradient
        return np.asarray(np.minimum(inside, y[None, :, None]), dtype=np.float32)

    def sources(self, points: Array, normals: Array) -> NDArray[np.float64]:
        """See ``Solid``: seen level, a point and its mirror image behind share their place in the photo."""
        return fold_around_outline(points, normals, self.inflation.radius_at(self.origin, points))


def fit_cushion(silhouette: Silhouette) -> Cushion:
    """Inflate an outline, whatever it is."""
    rows = np.flatnonzero(silhouette.mask.any(axis=1))
    columns = np.flatnonzero(silhouette.mask.any(axis=0))
    foot = int(rows[-1] + 1 - round(FOOT_CUT * len(rows)))
    inflation = _inflate_on_ground(silhouette.alpha, foot)
    origin = ((columns[0] + columns[-1] + 1) / 2, float(foot))
    depth = float(np.sqrt(max(inflation.height_squared.max(), 1.0)))
    low = (columns[0] - origin[0], 0.0, -BACK_DEPTH * depth)
    high = (columns[-1] + 1 - origin[0], foot - float(rows[0]), FRONT_DEPTH * depth)
    to_working = np.array([[1.0, 0.0, origin[0]], [0.0, -1.0, origin[1]], [0.0, 0.0, 1.0]])
    return Cushion(
        view=View(0.0, np.asarray(silhouette.to_cutout @ to_working)),
        bounds=np.array([low, high]),
        inflation=inflation,
        origin=origin,
    )


def _inflate_on_ground(alpha: NDArray[np.float32], foot: int) -> Inflation:
    """Inflate the part above the ground together with its reflection in it.

    Thickness then does not fall to nothing at the foot but stays what the width there allows, and the cut at the ground
    leaves a surface to stand on.
    """
    above = alpha[:foot]
    inflation = inflate(np.concatenate([above, above[::-1][: foot // 2]]))
    return Inflation(inflation.height_squared[: len(alpha)], inflation.radius[: len(alpha)])
