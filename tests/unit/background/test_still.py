"""The still: own pixels, right place, a shadow that only darkens and falls away from the light."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from lensora.core.errors import FailedPrecondition, InvalidArgument
from lensora.core.imaging import srgb_to_linear
from lensora.core.scene import Scene, Vector
from services.background.core.compose import compose, place, subject_bounds
from tests.weight import weighing

Build = Callable[[str], Scene]
Picture = NDArray[np.uint8]


def _card(height: int, width: int, colour: tuple[int, int, int]) -> Picture:
    card = np.zeros((height, width, 4), np.uint8)
    card[..., :3] = colour
    card[4:-4, 4:-4, 3] = 255
    return card


def _light_left(cutout: Picture, scene: Scene) -> NDArray[np.float32]:
    """(h, w) the still's light over the empty plate's."""
    still = compose(cutout, scene, NullContext().progress)
    left: NDArray[np.float32] = srgb_to_linear(still).sum(axis=2) / srgb_to_linear(scene.plate).sum(axis=2)
    return left


@pytest.mark.parametrize("size", [30, 100, 1500])
def test_the_pixels_are_the_cut_outs_own_at_every_scale(scene: Build, size: int) -> None:
    still = compose(_card(size, size, (203, 17, 96)), scene("marble-countertop"), NullContext().progress)
    x, y = scene("marble-countertop").camera.project(np.array([[0.0, 0.15, 0.0]]), 320, 180)[0].astype(int)
    inside = still[y - 20 : y + 20, x - 20 : x + 20].astype(int)
    assert np.abs(inside - (203, 17, 96)).max() <= 1


def test_the_foot_stands_on_the_projected_origin_and_the_height_is_the_scenes(scene: Build) -> None:
    built = scene("studio")
    cutout = _card(408, 208, (255, 0, 0))
    still = compose(cutout, built, NullContext().progress).astype(int)
    red = (still[..., 0] > 200) & (still[..., 1] < 130)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    (x, foot), (_, head) = built.camera.project(np.array([[0, 0, 0], [0, built.subject_height, 0]]), 320, 180)
    assert abs(rows[-1] + 1 - foot) <= 1.5 and abs(rows[0] - head) <= 4
    assert abs((columns[0] + columns[-1] + 1) / 2 - x) <= 1


def test_a_wide_subject_is_bound_by_its_width(scene: Build) -> None:
    built = scene("studio")
    placed = place(4000, 100, built)
    assert placed.scale * 4000 * placed.metres_per_pixel == pytest.approx(built.subject_width)


def test_downscaling_averages_in_linear_light(scene: Build) -> None:
    """A fine black and white chequer must come out as half the light, not as half the code value."""
    cutout = _card(1208, 1208, (0, 0, 0))
    cutout[::2, ::2, :3] = cutout[1::2, 1::2, :3] = 255
    still = compose(cutout, scene("studio"), NullContext().progress)
    assert srgb_to_linear(still[60:120, 140:180]).mean() == pytest.approx(0.5, abs=0.03)


def test_the_shadow_only_darkens_and_only_the_ground(scene: Build, ball: Picture) -> None:
    built = scene("rustic-wood")
    still = compose(ball, built, NullContext().progress).astype(int)
    placed = place(180, 180, built)
    radius = 90 * placed.scale + 2
    y, x = np.mgrid[0:180, 0:320]
    outside = np.hypot(x + 0.5 - placed.foot[0], y + 0.5 - (placed.foot[1] - 90 * placed.scale)) > radius
    change = (still - built.plate).max(axis=2)
    assert change[outside].max() <= 1
    darkened = (built.plate.astype(int) - still).max(axis=2) * outside
    assert darkened[:10].max() <= 1
    assert darkened[int(placed.foot[1]) - 4 : int(placed.foot[1]) + 4].max() > 25


@pytest.mark.parametrize(("name", "side"), [("beach-sunset", 1), ("linen-kitchen", -1)])
def test_the_shadow_falls_away_from_the_key(scene: Build, ball: Picture, name: str, side: int) -> None:
    built = scene(name)
    assert np.sign(built.key_light.direction[0]) == -side
    lost = 1 - _light_left(ball, built)
    away, towards = lost[90:, 205:315].sum(), lost[90:, 5:115].sum()
    assert side * (away - towards) > 20


def test_a_longer_penumbra_for_a_larger_light(scene: Build, ball: Picture) -> None:
    built = scene("beach-sunset")
    steepest = []
    for radius in (0.5, 12.0):
        lit = replace(built, key_light=replace(built.key_light, angular_radius_degrees=radius))
        shadow = _light_left(ball, lit)
        steepest.append(np.abs(np.diff(shadow[100:150, 215:300], axis=0)).max())
    assert steepest[0] > 1.5 * steepest[1]


LOW = 1e-6
LEVEL = math.sqrt(1 - LOW**2)
LIGHTS: dict[str, tuple[Vector, float]] = {
    "straight above": ((0.0, 1.0, 0.0), 5.0),
    "at the horizon": ((LEVEL, LOW, 0.0), 5.0),
    "behind, at the horizon": ((0.0, LOW, -LEVEL), 0.0),
    "as wide as the sky": ((0.0, 0.8, 0.6), 89.999),
    "wide, at the horizon": ((-LEVEL, LOW, 0.0), 80.0),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_a_light_from_anywhere_only_darkens_and_costs_no_memory(scene: Build, ball: Picture, name: str) -> None:
    direction, radius = LIGHTS[name]
    built = scene("studio")
    lit = replace(built, key_light=replace(built.key_light, direction=direction, angular_radius_degrees=radius))
    with weighing() as weight:
        still = compose(ball, lit, NullContext().progress)
    assert weight.grown < 100
    assert np.array_equal(still[0], lit.plate[0]), "nothing happens to the sky"
    foot = int(place(180, 180, lit).foot[1])
    assert still[foot + 2 :].astype(int).max() <= lit.plate[foot + 2 :].max()
    assert still[foot + 2 : foot + 12].sum() < lit.plate[foot + 2 : foot + 12].sum(), "it touches the ground"


def seen_from(scene: Scene, position: Vector, target: Vector, fov: float = 28.0) -> Scene:
    return replace(scene, camera=replace(scene.camera, position=position, target=target, vertical_fov_degrees=fov))


@pytest.mark.parametrize(
    ("position", "target", "fov", "says"),
    [
        ((0.0, 0.3, 1.2), (0.0, 0.3, 9.0), 28.0, "must look towards"),
        ((0.0, 0.0, 1.0), (1.0, 0.0, 1.0), 28.0, "must look towards"),
        ((0.0, 0.1, 0.02), (0.0, 0.1, 0.0), 28.0, "too close"),
        ((0.0, 0.35, 1.2), (0.0, 0.14, 0.0), 1.001, "too close"),
        ((0.0, 0.35, 1.2), (-100.0, 0.14, 1.199), 28.0, "too close"),
    ],
)
def test_a_camera_that_cannot_show_the_subject_is_refused(
    scene: Build, ball: Picture, position: Vector, target: Vector, fov: float, says: str
) -> None:
    with weighing() as weight, pytest.raises(InvalidArgument, match=says) as refused:
        compose(ball, seen_from(scene("studio"), position, target, fov), NullContext().progress)
    assert refused.value.violations[0].field == "scene.camera" and weight.grown < 50


def test_a_tiny_subject_that_fills_the_frame_costs_no_more(scene: Build, ball: Picture) -> None:
    built = scene("studio")
    small = replace(built, subject_height=3e-6, subject_width=3e-6)
    near = seen_from(small, (0.0, 3.5e-6, 1.2e-5), (0.0, 1.4e-6, 0.0))
    with weighing() as weight:
        compose(ball, near, NullContext().progress)
    assert weight.grown < 100


def test_an_empty_or_ghostly_cut_out_has_no_subject(scene: Build) -> None:
    for alpha in (0, 100):
        with pytest.raises(FailedPrecondition) as caught:
            compose(np.full((50, 40, 4), alpha, np.uint8), scene("studio"), NullContext().progress)
        assert caught.value.reason == "NO_SUBJECT"


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1)])
def test_slivers_do_not_break_it(scene: Build, shape: tuple[int, int]) -> None:
    cutout = np.full((*shape, 4), 255, np.uint8)
    assert compose(cutout, scene("studio"), NullContext().progress).shape == (180, 320, 3)


def test_bounds_ignore_faint_specks() -> None:
    alpha = np.zeros((40, 50), np.uint8)
    alpha[10:20, 5:30] = 200
    alpha[39, 49] = 90
    assert subject_bounds(alpha) == (5, 10, 30, 20)


def test_the_same_cut_out_gives_the_same_still(scene: Build, ball: Picture) -> None:
    first, second = (compose(ball, scene("forest-floor"), NullContext().progress) for _ in range(2))
    assert np.array_equal(first, second)
