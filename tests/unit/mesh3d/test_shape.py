"""Outlines whose true shape is known: is it found?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.errors import FailedPrecondition, InvalidArgument
from services.mesh3d.core.ends import inscribed_radii
from services.mesh3d.core.inflation import ball_union, inflate
from services.mesh3d.core.lathe import fit_lathe
from services.mesh3d.core.silhouette import SUBJECT_SIDE, find_silhouette, signed_distance
from services.mesh3d.core.symmetry import find_mirror_axis
from tests.unit.mesh3d.conftest import (
    Profile,
    animal,
    ball,
    bottle,
    bowl,
    cylinder,
    draw_mask,
    draw_turned,
    lathe_of,
    vase,
)


def disc(side: int, radius: float) -> NDArray[np.float32]:
    rows, columns = np.indices((side, side)) + 0.5 - side / 2
    return np.asarray(np.clip(radius - np.hypot(rows, columns) + 0.5, 0, 1), dtype=np.float32)


@pytest.mark.parametrize("elevation", [8.0, 15.0, 25.0, 33.0])
def test_the_foot_tells_how_far_from_above_the_camera_looked(elevation: float) -> None:
    lathe = lathe_of(draw_turned(cylinder, 1.2, elevation))
    assert np.degrees(lathe.view.elevation) == pytest.approx(elevation, abs=2.0)
    # height over radius survives only if the two ellipses are taken off and the foreshortening is undone
    assert lathe.heights[-1] / lathe.radii.mean() == pytest.approx(1.2 / 0.5, rel=0.04)


@pytest.mark.parametrize(("profile", "height"), [(cylinder, 1.2), (vase, 1.2), (bottle, 1.0)])
def test_a_level_view_is_not_taken_for_one_from_above(profile: Profile, height: float) -> None:
    assert lathe_of(draw_turned(profile, height, 0.0)).view.elevation == 0.0


def test_a_ball_has_no_foot_to_read() -> None:
    lathe = lathe_of(draw_turned(ball, 1.0, 20.0))
    assert lathe.view.elevation == 0.0
    # it stands on a small flat, and is otherwise round
    assert 0.1 < lathe.radii[0] / lathe.radii.max() < 0.4
    assert 2 * lathe.radii.max() / lathe.heights[-1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("profile", "height", "elevation"), [(vase, 1.2, 0.0), (vase, 1.2, 12.0), (bowl, 0.6, 25.0)])
def test_the_profile_is_found(profile: Profile, height: float, elevation: float) -> None:
    lathe = lathe_of(draw_turned(profile, height, elevation, side=320))
    at = np.linspace(0.1, 0.9, 17)
    found = np.interp(at * lathe.heights[-1], lathe.heights, lathe.radii) / lathe.radii.max()
    true = profile(at) / profile(np.linspace(0, 1, 500)).max()
    assert np.abs(found - true).max() < 0.06


def test_an_opening_tells_the_camera_where_a_round_bottom_does_not() -> None:
    open_bowl = draw_turned(bowl, 0.6, 40.0)
    lathe = lathe_of(open_bowl)
    assert np.degrees(lathe.view.elevation) == pytest.approx(40.0, abs=2.0)
    assert len(lathe.flats) == 2
    # the same outline without the picture of an opening in it may be a dome's
    plain = open_bowl.copy()
    plain[..., :3] = 120
    solid = fit_lathe(find_silhouette(plain))
    assert solid is None or solid.view.elevation == 0.0


def test_a_plain_ellipse_is_not_opened() -> None:
    mask = np.zeros((300, 400), np.uint8)
    cv2.ellipse(mask, (200, 150), (150, 105), 0, 0, 360, 1, -1)
    cutout = draw_mask(mask > 0)
    cutout[mask == 0, :3] = 255
    solid = fit_lathe(find_silhouette(cutout))
    assert solid is None or solid.view.elevation == 0.0


def test_a_handle_in_front_of_the_axis_is_put_there() -> None:
    cup = draw_turned(bowl, 0.8, 40.0, side=320)
    # a ring at the lower left of the outline, as a cup turned a little towards the camera shows it
    rows = np.flatnonzero((cup[..., 3] > 200).any(axis=1))
    row = int(rows[0] + 0.75 * len(rows))
    centre = (int(np.flatnonzero(cup[row, :, 3] > 200)[0]) - 12, row)
    ring = np.zeros(cup.shape[:2], np.uint8)
    cv2.circle(ring, centre, 22, 255, 8, cv2.LINE_AA)
    cup[..., 3] = np.maximum(cup[..., 3], ring)
    lathe = lathe_of(cup)
    assert lathe.appendage is not None
    assert 0.2 * lathe.radii.max() < lathe.appendage.depth < lathe.radii.max()


def test_a_handle_is_an_appendage_and_leaves_the_body_round(mug: NDArray[np.uint8]) -> None:
    lathe = lathe_of(mug)
    assert lathe.appendage is not None
    assert np.ptp(lathe.radii[3:-3]) < 0.03 * lathe.radii.max()


def test_the_hole_of_a_handle_stays_open(mug: NDArray[np.uint8]) -> None:
    lathe = lathe_of(mug)
    radius = float(lathe.radii.max())
    middle = lathe.heights[-1] / 2
    along = np.linspace(0.0, lathe.bounds[1, 0], 400)
    inside = lathe.field(along, np.array([middle, middle + 1.0]), np.array([0.0, 1.0]))[:, 0, 0] > 0
    # body, gap, handle
    assert np.count_nonzero(np.diff(inside.astype(int)) == -1) == 2
    assert inside[along < 0.9 * radius].all()


def test_an_animal_is_not_turned_on_a_lathe() -> None:
    assert fit_lathe(find_silhouette(draw_mask(animal()))) is None


def test_a_wide_outline_seen_level_is_not_turned_into_a_drum() -> None:
    mask = np.zeros((200, 300), bool)
    mask[60:140, 30:270] = True
    assert fit_lathe(find_silhouette(draw_mask(mask))) is None


@pytest.mark.parametrize("tilt", [-9.0, -2.5, 0.0, 4.0, 11.0])
def test_a_tilted_axis_is_found(tilt: float) -> None:
    mask = np.zeros((400, 400), np.float32)
    cv2.ellipse(mask, (190, 220), (60, 120), tilt, 0, 360, 1, -1)
    axis = find_mirror_axis(mask)
    assert axis.tilt_degrees == pytest.approx(tilt, abs=0.75)
    assert axis.score > 0.98


def test_a_crooked_photo_gives_an_upright_body() -> None:
    straight = draw_turned(vase, 1.2, 0.0)
    side = straight.shape[0]
    turned = cv2.warpAffine(straight, cv2.getRotationMatrix2D((side / 2, side / 2), 6.0, 1.0), (side, side))
    straight_lathe, turned_lathe = lathe_of(straight), lathe_of(np.asarray(turned, dtype=np.uint8))
    at = np.linspace(0.1, 0.9, 9)
    profiles = [np.interp(at * each.heights[-1], each.heights, each.radii) for each in (straight_lathe, turned_lathe)]
    assert np.abs(profiles[0] / profiles[0].max() - profiles[1] / profiles[1].max()).max() < 0.03


def test_inflation_makes_a_sphere_of_a_disc_and_a_tube_of_a_strip() -> None:
    sphere = inflate(disc(400, 150.0))
    assert np.sqrt(sphere.height_squared[200, 200]) == pytest.approx(150, rel=0.03)
    assert np.sqrt(sphere.height_squared[200, 290]) == pytest.approx(np.sqrt(150**2 - 90**2), rel=0.03)
    assert sphere.radius[200, 290] == pytest.approx(150, rel=0.05)
    strip = np.zeros((400, 400), np.float32)
    strip[20:380, 150:250] = 1
    tube = inflate(strip)
    assert np.sqrt(tube.height_squared[200, 200]) == pytest.approx(50, rel=0.04)
    assert np.sqrt(tube.height_squared[200, 230]) == pytest.approx(40, rel=0.05)


def test_inflation_ends_at_the_outline() -> None:
    alpha = disc(300, 100.3)
    inside = inflate(alpha).height_squared > 0
    assert np.count_nonzero(inside != (signed_distance(alpha) > 0)) < 0.001 * inside.size


def test_the_union_of_balls_is_what_it_says() -> None:
    rng = np.random.default_rng(3)
    squared = np.where(rng.random((13, 17)) < 0.1, rng.uniform(1, 30, (13, 17)), -np.inf)
    places = np.argwhere(np.isfinite(squared))
    grid = np.moveaxis(np.indices(squared.shape), 0, -1)
    expected = np.max([squared[tuple(at)] - ((grid - at) ** 2).sum(-1) for at in places], axis=0)
    np.testing.assert_allclose(ball_union(squared), expected)


def test_inscribed_circles_touch_the_outline_but_never_cross_it() -> None:
    sine = 0.4
    rows = np.arange(120)
    widths = np.where((rows > 20) & (rows < 100), 25 + 10 * np.sin(rows / 12), 0.0)
    radii = inscribed_radii(widths, sine)
    for row in range(30, 90):
        offsets = rows - row
        within = np.abs(offsets) <= radii[row] * sine
        ellipse = np.sqrt(radii[row] ** 2 - (offsets[within] / sine) ** 2)
        assert (ellipse <= widths[within] + 1e-9).all()
        assert np.isclose(ellipse, widths[within]).any() or radii[row] == pytest.approx(
            min(row - 20, 100 - row) / sine, abs=1 / sine
        )


def test_every_subject_is_solved_at_the_same_size() -> None:
    for side in (12, 200, 700):
        mask = np.zeros((2 * side, 3 * side), bool)
        mask[side // 2 : side // 2 + side, side : 2 * side] = True
        silhouette = find_silhouette(draw_mask(mask))
        assert np.count_nonzero(silhouette.mask) == pytest.approx(SUBJECT_SIDE**2, rel=0.02)
        corner = silhouette.to_cutout @ (np.argwhere(silhouette.mask)[0][1], np.argwhere(silhouette.mask)[0][0], 1.0)
        np.testing.assert_allclose(corner, (side, side // 2), atol=0.02 * side)


@pytest.mark.parametrize("mask", ["empty", "faint", "speck", "line"])
def test_no_usable_outline_is_said(mask: str) -> None:
    cutout = np.zeros((300, 400, 4), np.uint8)
    if mask == "faint":
        cutout[..., 3] = 90
    elif mask == "speck":
        cutout[100:104, 100:104, 3] = 255
    elif mask == "line":
        cutout[100:103, 10:390, 3] = 255
    with pytest.raises(FailedPrecondition) as caught:
        find_silhouette(cutout)
    assert caught.value.reason == "NO_SUBJECT"


@pytest.mark.parametrize("shape", [(10, 10, 3), (0, 10, 4), (10, 10)])
def test_what_is_not_a_cutout_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument):
        find_silhouette(np.zeros(shape, np.uint8))


def test_debris_of_the_matte_is_no_part() -> None:
    mask = np.zeros((300, 300), bool)
    mask[50:250, 50:200] = True
    mask[20:40, 260:280] = True
    assert find_silhouette(draw_mask(mask)).parts == 1
    mask[100:200, 230:290] = True
    assert find_silhouette(draw_mask(mask)).parts == 2
