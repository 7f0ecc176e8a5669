"""Solids of revolution, with what does not revolve (a handle, a spout, a leaf) as an appendage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from services.mesh3d.core.appendage import Appendage, fit_appendage
from services.mesh3d.core.ends import Ends, find_ends, inscribed_radii
from services.mesh3d.core.fold import fold_around_axis
from services.mesh3d.core.silhouette import OPAQUE, Silhouette, distance_to_zero, signed_distance
from services.mesh3d.core.solid import Array, View, sample_rows, smooth_maximum
from services.mesh3d.core.symmetry import MirrorAxis, find_mirror_axis, upright_transform, warp_upright

MIN_MIRROR_SCORE = 0.95
"""Least overlap of the opened outline with its mirror image. Photographed bottles, mugs and bowls score 0.96 to 0.99,
animals and boxes seen from a corner 0.6 to 0.93."""

MIN_EXPLAINED = 0.93
"""Least share of the opened outline's area that the circular sections must cover."""

MAX_LEFTOVER = 0.35
"""Most of the outline's area that may be appendages; with more of it the revolved body is not the subject."""

MAX_WIDTH_TO_HEIGHT = 1.25
"""A wider outline revolves into something deeper than it is tall; believed only where a round foot is seen."""

OPENING_SHARE = 0.2
"""Radius of the opening that removes handles, as a share of the largest inscribed circle's radius."""

PROFILE_SMOOTHING = 2.0
"""Standard deviation, rows: a ripple of a tenth of a pixel in a profile shows as rings in the light."""

TOLERANCE = 1.5
"""Pixels by which the outline may wander beside the revolved body before it counts as left over."""


@dataclass(frozen=True, slots=True, eq=False)
class Lathe:
    """A body that revolves about the y axis, and its appendages."""

    view: View
    bounds: NDArray[np.float64]
    flats: tuple[float, ...]
    mirror_score: float
    heights: NDArray[np.float64]
    """(n,) y of the samples of the profile, ascending from 0."""

    radii: NDArray[np.float64]
    """(n,) the body's radius there."""

    outline: NDArray[np.float32]
    """(h, w) signed distance to the outline in the upright picture."""

    origin: tuple[float, float]
    """(x, y) of the object's origin in the upright picture."""

    appendage: Appendage | None
    method: str = "lathe"

    def field(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        """See ``Solid``: the revolved body, joined to the appendages, within the photographed outline."""
        squared = np.interp(y, self.heights, self.radii**2)
        slope = np.gradient(squared, y)
        top = self.heights[-1]
        distance_squared = x[:, None, None] ** 2 + z[None, None, :] ** 2
        # q = r(y)² - x² - z² over its gradient: well behaved where the profile closes to a point
        gradient = np.sqrt(slope[None, :, None] ** 2 + 4 * distance_squared + 1.0)
        body = ((squared[None, :, None] - distance_squared) / gradient).astype(np.float32)
        body = np.minimum(body, (top - y)[None, :, None].astype(np.float32))
        if self.appendage is not None:
            body = smooth_maximum(body, self.appendage.field(x, y, z), 4 * TOLERANCE)
        body = np.minimum(body, y[None, :, None].astype(np.float32))
        return np.asarray(np.minimum(body, self._outline_field(x, y, z) + np.float32(TOLERANCE)))

    def _outline_field(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        up = y[:, None] * math.cos(self.view.elevation) - z[None, :] * math.sin(self.view.elevation)
        return sample_rows(self.outline, self.origin[1] - up, self.origin[0] + x).transpose(2, 0, 1)

    def sources(self, points: Array, normals: Array) -> NDArray[np.float64]:
        """See ``Solid``: around the axis on the wall, straight on a lid that the camera sees from above."""
        lid = (points[:, 1] >= self.flats[-1]) & (normals[:, 1] > 0.99) & (self.view.elevation > 0)
        shown = np.where(lid[:, None], points, fold_around_axis(points))
        if self.appendage is None:
            return shown
        beside = (
            np.hypot(points[:, 0], points[:, 2]) > np.interp(points[:, 1], self.heights, self.radii) + 2 * TOLERANCE
        )
        return np.where(beside[:, None], self.appendage.sources(points, normals), shown)


def fit_lathe(silhouette: Silhouette) -> Lathe | None:
    """The solid of revolution behind an outline, or None when the outline is not one's."""
    if silhouette.parts > 1:
        return None
    opened = _opened(silhouette.mask)
    axis = find_mirror_axis(opened.astype(np.float32))
    if axis.score < MIN_MIRROR_SCORE:
        return None
    axis, alpha, radii = _refine_axis(silhouette.alpha, axis)
    if 2 * radii.sum() < MIN_EXPLAINED * opened.sum():
        return None
    body = _body_mask(alpha, radii, axis.column)
    mask = alpha >= OPAQUE
    if (mask & ~body).sum() > MAX_LEFTOVER * mask.sum():
        return None
    grey = warp_upright(silhouette.grey, axis.tilt_degrees)
    ends = find_ends(np.where(body, alpha, 0.0), grey, radii, axis.column)
    if ends.elevation == 0.0 and 2 * radii.max() > MAX_WIDTH_TO_HEIGHT * np.count_nonzero(radii):
        return None
    heights, profile = _profile(inscribed_radii(radii, math.sin(ends.elevation)), ends)
    origin = (axis.column, ends.foot_row)
    size = (float(profile.max()), float(heights[-1]))
    appendage = fit_appendage(alpha, body, origin, ends.elevation, size)
    return Lathe(
        view=View(ends.elevation, _screen_to_cutout(silhouette, axis.tilt_degrees, origin)),
        bounds=_bounds(*size, appendage),
        flats=(0.0, float(heights[-1])) if ends.lid else (0.0,),
        mirror_score=axis.score,
        heights=heights,
        radii=profile,
        outline=signed_distance(alpha),
        origin=origin,
        appendage=appendage,
    )


def _bounds(radius: float, height: float, appendage: Appendage | None) -> NDArray[np.float64]:
    """(2, 3) corners around the body and its appendages."""
    body = np.array([[-radius, 0.0, -radius], [radius, height, radius]])
    if appendage is None:
        return body
    return np.stack([np.minimum(body[0], appendage.bounds[0]), np.maximum(body[1], appendage.bounds[1])])


def _refine_axis(
    alpha: NDArray[np.float32], axis: MirrorAxis
) -> tuple[MirrorAxis, NDArray[np.float32], NDArray[np.float64]]:
    """Put the axis through the middles of the rows; returns it, the upright picture, and the section radii there.

    The opened outline still carries the roots of a handle, which pull its axis aside by a pixel. Rows whose two sides
    agree are free of them: a line through their middles corrects tilt and place.
    """
    for _ in range(3):
        upright = warp_upright(alpha, axis.tilt_degrees)
        left, right = _reaches(upright, axis.column)
        rows = np.flatnonzero((left + right > 0) & (np.abs(right - left) <= 0.1 * (left + right)))
        if len(rows) < 8:
            break
        middle = (right - left)[rows] / 2
        for _ in range(3):
            slope, offset = np.polyfit(rows, middle, 1)
            error = np.abs(slope * rows + offset - middle)
            kept = error <= max(2 * float(np.median(error)), 0.25)
            rows, middle = rows[kept], middle[kept]
        column = axis.column + float(np.median(middle))
        axis = MirrorAxis(axis.tilt_degrees - math.degrees(math.atan(slope)), column, axis.score)
    upright = warp_upright(alpha, axis.tilt_degrees)
    left, right = _reaches(upright, axis.column)
    # the mean of both sides while they agree; what stands out on one side only is left over
    beyond = np.abs(left - right)
    share = np.clip(2.0 - beyond / (2 * TOLERANCE), 0.0, 1.0) / 2
    return axis, upright, np.minimum(left, right) + share * beyond


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without what is thinner than the opening: erosion, then dilation, by a disc."""
    inner = distance_to_zero(mask.astype(np.uint8))
    radius = OPENING_SHARE * float(inner.max())
    outer = distance_to_zero((inner <= radius).astype(np.uint8))
    return np.asarray((outer <= radius) & mask)


def _reaches(alpha: NDArray[np.float32], column: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(h,) how far every row is opaque to the left and to the right of the axis, to a fraction of a pixel; both are 0
    where the axis is outside.
    """

    def reach(picture: NDArray[np.float32], at: float) -> NDArray[np.float64]:
        first = int(at)
        run = np.cumprod(picture[:, first:] >= OPAQUE, axis=1)
        length = run.sum(axis=1)
        end = np.minimum(first + length, picture.shape[1] - 1)
        row = np.arange(len(picture))
        # the last opaque pixel and the first transparent one each lend the outline their share
        width = length - 1 + picture[row, np.maximum(end - 1, 0)] + picture[row, end] - (at - first)
        return np.where(length > 0, np.maximum(width, 0.0), 0.0)

    left, right = reach(alpha[:, ::-1], alpha.shape[1] - column), reach(alpha, column)
    return np.where(right > 0, left, 0.0), np.where(left > 0, right, 0.0)


def _body_mask(alpha: NDArray[np.float32], radii: NDArray[np.float64], column: float) -> NDArray[np.bool_]:
    beside = np.abs(np.arange(alpha.shape[1]) + 0.5 - column)[None, :] - radii[:, None]
    return np.asarray((beside <= TOLERANCE) & (radii > 0)[:, None])


def _profile(radii: NDArray[np.float64], ends: Ends) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heights (n,) ascending from 0 and radii (n,) between the two ends."""
    centres = np.arange(len(radii)) + 0.5
    inside = (centres > ends.top_row) & (centres < ends.foot_row)
    profile = gaussian_filter1d(radii[inside][::-1], PROFILE_SMOOTHING, mode="nearest")
    heights = (ends.foot_row - centres[inside][::-1]) / math.cos(ends.elevation)
    top = (ends.foot_row - ends.top_row) / math.cos(ends.elevation)
    top_radius = float(profile[-1]) if ends.lid else 0.0
    return np.concatenate([[0.0], heights, [top]]), np.concatenate([profile[:1], profile, [top_radius]])


def _screen_to_cutout(silhouette: Silhouette, tilt_degrees: float, origin: tuple[float, float]) -> NDArray[np.float64]:
    """(2, 3) affine: screen (right, up) about the object's origin → upright picture → working → cut-out."""
    flip = np.array([[1.0, 0.0, origin[0]], [0.0, -1.0, origin[1]], [0.0, 0.0, 1.0]])
    upright = np.vstack([upright_transform(silhouette.alpha.shape, tilt_degrees), [0.0, 0.0, 1.0]])
    return np.asarray(silhouette.to_cutout @ np.linalg.inv(upright) @ flip)
