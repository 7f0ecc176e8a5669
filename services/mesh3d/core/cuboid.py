"""Boxes: cartons, books, furniture. Of three faces seen, all is solved; of one, the depth is assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.polygon import Outline, Points, fit_end, fit_polygon, trace_outline
from services.mesh3d.core.pose import RING, solve_pose
from services.mesh3d.core.silhouette import Silhouette

Face = Literal["front", "right", "back", "left", "top", "bottom"]
"""By the box's own axes: front is +z, right +x, top +y."""

DEPTH_PRIOR = 0.65
"""Assumed depth over the shorter side of a face seen square on, which tells nothing of it. Cartons of groceries have
0.3 (cereal) to 1.0 (milk); this is near the middle."""

SQUARE_DEGREES = 5.0
"""By how much a corner of a face seen square on may differ from 90°: a camera that looks down by 15° makes 1.5°, a cup
tapers by 4° and more on either side."""

TAPER_DEGREES = 4.0
"""The same of opposite sides from parallel."""

MAX_ROLL_DEGREES = 10.0
"""Of a face seen square on; one that is turned further does not stand."""

MIN_FACE_RATIO = 0.25
"""Shorter over longer side of a face seen square on: what is more slender is rather a pole or a bottle."""

ROUND_SHADING = 0.10
"""Share of brightness that a wall loses to both its sides alike from which it is round: seen level a can has a box's
outline. A matt cylinder loses a fifth and more, a flat face nothing, whatever the light."""

MAX_BULGE = 0.02
"""Of the ends of a face seen square on, over its half-width: a can seen from 1° above shows as much."""

BULGE_FLOOR = 1.5
"""Working pixels of bulge that the matte alone may make."""

CORNER_LEAD = 2.0
"""How many times better, in squared error, corners must explain a box's two ends than half ellipses do. Drawn cans stay
below 1.6; boxes reach 2 when seen from 2° above, 8 from 5° and 80 from 15°."""

MIN_SOURCE_SIDE = 32.0
"""Cut-out pixels along the subject's shorter side below which a corner cannot be told from an arc."""

SEEN_SIGNS: dict[Face, tuple[tuple[int, int, int], ...]] = {
    "front": ((-1, 1, 1), (1, 1, 1), (1, -1, 1), (-1, -1, 1)),
    "right": ((1, 1, 1), (1, 1, -1), (1, -1, -1), (1, -1, 1)),
    "top": ((-1, 1, -1), (1, 1, -1), (1, 1, 1), (-1, 1, 1)),
}
"""Signs of the corners of the faces that a photo from the front, the right and above shows: upper left, upper right,
lower right, lower left as seen from outside."""


@dataclass(frozen=True, slots=True, eq=False)
class Cuboid:
    """A box standing on the ground, and where the photo shows its faces."""

    sizes: NDArray[np.float64]
    """(3,) width along its own x, height along y, depth along z; working pixels."""

    yaw: float
    """Radians about +y by which its own axes are turned; 0 faces the photographer."""

    elevation: float
    """Radians by which the camera looked down."""

    quads: dict[Face, Points]
    """(4, 2) continuous cut-out coordinates of the seen faces' corners: upper left, upper right, lower right, lower
    left as seen from outside."""

    measured: bool
    """All three sizes were seen; else the depth is ``DEPTH_PRIOR``'s."""

    method: str = field(default="cuboid", init=False)

    @property
    def turn(self) -> NDArray[np.float64]:
        """(3, 3) rotation from its own axes to the object frame."""
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def fit_cuboid(silhouette: Silhouette) -> Cuboid | None:
    """The box behind an outline, or None when the outline is not one's."""
    extent = np.linalg.svd(silhouette.to_cutout[:, :2], compute_uv=False).min()
    rows, columns = (np.flatnonzero(silhouette.mask.any(axis=axis)) for axis in (1, 0))
    if silhouette.parts > 1 or extent * min(np.ptp(rows), np.ptp(columns)) + 1 < MIN_SOURCE_SIDE:
        return None
    outline = trace_outline(silhouette)
    return _fit_face(silhouette, outline) or _fit_three_faces(silhouette, outline)


def _fit_three_faces(silhouette: Silhouette, outline: Outline) -> Cuboid | None:
    hexagon = fit_polygon(outline, 6)
    pose = solve_pose(hexagon * (1, -1)) if hexagon is not None else None
    if hexagon is None or pose is None or _ends_round(outline, hexagon):
        return None
    up, left = pose.axes[1], pose.axes[2]
    # the object frame: upright, its z towards the camera
    right = np.cross(up, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    yaw = float(np.arctan2(left @ right, left @ np.cross(right, up)))
    shown = _to_cutout(silhouette, pose.corners * (1, -1))
    index = {tuple(int(sign) for sign in signs): place for place, signs in enumerate(RING)}
    quads = {face: shown[[index[corner] for corner in corners]] for face, corners in SEEN_SIGNS.items()}
    return Cuboid(pose.sizes, yaw, float(np.arcsin(np.clip(up[2], 0.0, 1.0))), quads, measured=True)


def _ends_round(outline: Outline, hexagon: Points) -> bool:
    """Whether half ellipses explain the two ends between the upright sides better than corners do: a can's hexagon is
    that of a square box seen corner on.
    """
    sides = np.roll(hexagon, -1, axis=0) - hexagon
    upright = int((np.abs(sides[:3, 1]) / np.linalg.norm(sides[:3], axis=1)).argmax())
    # from the end of an upright side, over one corner, to the start of the other one
    starts = ((upright + 1) % 6, (upright + 4) % 6)
    ends = [fit_end(outline, hexagon[at], hexagon[(at + 2) % 6], hexagon[(at + 1) % 6]) for at in starts]
    return sum(end.ellipse_error for end in ends) < CORNER_LEAD * sum(end.corner_error for end in ends)


def _fit_face(silhouette: Silhouette, outline: Outline) -> Cuboid | None:
    """A rectangle is a box's face seen square on (or two seen level, which have the same outline)."""
    corners = fit_polygon(outline, 4)
    if corners is None:
        return None
    # clockwise from the upper left one
    corners = np.roll(corners, -int((corners @ (1.0, 1.0)).argmin()), axis=0)
    sides = np.roll(corners, -1, axis=0) - corners
    turned = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) - (0, 90, 180, 270)
    turned = (turned + 180) % 360 - 180
    square = np.abs(turned - np.roll(turned, 1)).max() <= SQUARE_DEGREES
    parallel = np.abs(turned[:2] - turned[2:]).max() <= TAPER_DEGREES
    if not (square and parallel and abs(turned.mean()) <= MAX_ROLL_DEGREES):
        return None
    lengths = np.linalg.norm(sides, axis=1)
    width, height = (lengths[:2] + lengths[2:]) / 2
    if min(width, height) < MIN_FACE_RATIO * max(width, height) or _shaded_round(silhouette):
        return None
    ends = [fit_end(outline, corners[side], corners[(side + 1) % 4]) for side in (0, 2)]
    if sum(end.bulge for end in ends) / 2 > max(MAX_BULGE * width / 2, BULGE_FLOOR):
        return None
    sizes = np.array([width, height, DEPTH_PRIOR * min(width, height)])
    return Cuboid(sizes, 0.0, 0.0, {"front": _to_cutout(silhouette, corners)}, measured=False)


def _shaded_round(silhouette: Silhouette) -> bool:
    """Whether the picture darkens from its middle column to both sides, as a wall that turns away does."""
    mask = silhouette.mask
    columns = np.flatnonzero(mask.any(axis=0))
    weight = mask[:, columns].sum(axis=0)
    brightness = (silhouette.grey * mask)[:, columns].sum(axis=0) / weight
    place = np.linspace(-1.0, 1.0, len(columns))
    bend, _, middle = np.polyfit(place, brightness, 2)
    return bool(-bend > ROUND_SHADING * max(float(middle), 1e-6))


def _to_cutout(silhouette: Silhouette, points: Points) -> Points:
    return np.asarray(points @ silhouette.to_cutout[:, :2].T + silhouette.to_cutout[:, 2])
