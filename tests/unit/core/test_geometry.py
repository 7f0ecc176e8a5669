"""Boxes obey their rules for all numbers; the oriented box does not care how a thing is turned."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME, Box, minimum_box, minimum_box_sides, thin_axis_ratio

UNIT = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x1, x2 = sorted(draw(st.tuples(UNIT, UNIT).filter(lambda pair: abs(pair[0] - pair[1]) > 1e-6)))
    y1, y2 = sorted(draw(st.tuples(UNIT, UNIT).filter(lambda pair: abs(pair[0] - pair[1]) > 1e-6)))
    return Box(x1, y1, x2, y2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1e-12, 1 + 1e-12])
@pytest.mark.parametrize("place", range(4))
def test_a_corner_outside_the_picture_or_no_number_is_refused(bad: float, place: int) -> None:
    corners = [0.0, 0.0, 1.0, 1.0]
    corners[place] = bad
    with pytest.raises(ValueError, match="a box needs"):
        Box(*corners)


@pytest.mark.parametrize("corners", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (0, 0.5, 1, 0.5), (0, 0.6, 1, 0.5)])
def test_an_empty_or_turned_box_is_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="a box needs"):
        Box(*corners)


@given(boxes(), boxes())
def test_iou_is_a_symmetric_share(one: Box, other: Box) -> None:
    assert one.iou(other) == other.iou(one)
    assert 0.0 <= one.iou(other) <= 1.0 + 1e-9
    assert one.iou(one) == pytest.approx(1.0)


def test_iou_of_known_boxes() -> None:
    assert Box(0, 0, 0.5, 1).iou(Box(0.5, 0, 1, 1)) == 0.0
    assert Box(0, 0, 0.5, 0.5).iou(FULL_FRAME) == pytest.approx(0.25)
    assert Box(0, 0, 0.75, 1).iou(Box(0.25, 0, 1, 1)) == pytest.approx(0.5)


@given(boxes(), st.floats(0, 10))
def test_growing_never_leaves_the_picture_nor_loses_the_box(box: Box, fraction: float) -> None:
    grown = box.grown(fraction)
    assert grown.x1 <= box.x1 and grown.y1 <= box.y1 and grown.x2 >= box.x2 and grown.y2 >= box.y2


def test_growing_is_by_the_box_s_own_size() -> None:
    grown = Box(0.4, 0.4, 0.6, 0.5).grown(0.12)
    assert (grown.x1, grown.y1, grown.x2, grown.y2) == pytest.approx((0.376, 0.388, 0.624, 0.512))


@given(boxes(), st.integers(1, 4000), st.integers(1, 4000))
def test_pixels_are_inside_and_at_least_one(box: Box, width: int, height: int) -> None:
    left, top, right, bottom = box.pixels(width, height)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert left <= box.x1 * width + 1e-3 and right >= box.x2 * width - 1e-3


@settings(max_examples=100)
@given(st.data(), st.integers(1, 4000))
def test_whole_pixels_come_back_even_through_32_bit_floats(data: st.DataObject, side: int) -> None:
    left = data.draw(st.integers(0, side - 1))
    right = data.draw(st.integers(left + 1, side))
    box = Box(*(float(np.float32(value)) for value in (left / side, 0.0, right / side, 1.0)))
    assert box.pixels(side, side)[::2] == (left, right)


def cuboid(sides: tuple[float, float, float], turned: float = 0.0) -> NDArray[np.float64]:
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * sides
    c, s = math.cos(turned), math.sin(turned)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.asarray(corners @ about_y @ about_x + (3.0, -2.0, 5.0))


@pytest.mark.parametrize("turned", [0.0, 0.26, math.pi / 4, 1.3])
def test_turning_a_slab_does_not_hide_it(turned: float) -> None:
    slab = cuboid((1.0, 0.157, 0.8), turned)
    assert thin_axis_ratio(slab) == pytest.approx(0.157, abs=1e-3)
    assert minimum_box_sides(slab) == pytest.approx([0.157, 0.8, 1.0], abs=1e-3)


def test_the_box_s_axes_measure_its_sides() -> None:
    points = cuboid((0.3, 1.0, 0.6), 0.7)
    axes, sides = minimum_box(points)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-9) and np.linalg.det(axes) == pytest.approx(1.0)
    assert np.ptp(points @ axes.T, axis=0) == pytest.approx(sides, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (8, 2), (24,), (0, 3)])
def test_what_is_no_cloud_of_points_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="vertices"):
        minimum_box(np.zeros(shape))


def test_flat_and_tiny_things_have_a_box_too() -> None:
    triangle = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0]])
    assert thin_axis_ratio(triangle) == pytest.approx(0.0, abs=1e-9)
    assert minimum_box_sides(cuboid((0.3, 1.0, 0.6), 0.7) * 1e-9) == pytest.approx([3e-10, 6e-10, 1e-9])


def test_a_ball_has_a_box_in_no_time_and_a_line_one_without_width() -> None:
    ball = np.random.default_rng(0).normal(size=(5000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    assert minimum_box_sides(ball) == pytest.approx([2.0] * 3, rel=0.01)
    assert minimum_box_sides(np.outer(np.arange(5.0), [1, 2, 2])) == pytest.approx([0, 0, 12], abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_what_lies_within_a_box_does_not_change_it(seed: int) -> None:
    draw = np.random.default_rng(seed)
    corners = cuboid((0.2, 0.5, 0.9), draw.uniform(0, 3))
    within = draw.dirichlet(np.ones(len(corners)), 300) @ corners
    axes, sides = minimum_box(np.vstack([corners, within]))
    assert sides == pytest.approx([0.2, 0.5, 0.9], abs=1e-6)
    assert np.ptp(within @ axes.T, axis=0).max() < 0.9
