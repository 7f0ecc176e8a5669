"""Auto-orient: boxes whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.core.orient import front_yaw_degrees, yaw_matrix


def _triangles(kit: SimpleNamespace, width: float, height: float, depth: float, yaw: float) -> NDArray[np.float64]:
    turn = yaw_matrix(yaw)[:3, :3]
    return np.concatenate([part.positions[part.indices] for part in kit.box(width, height, depth)]) @ turn.T


@pytest.mark.parametrize("yaw", [-80, -35, -12, 12, 35, 80])
def test_a_wide_face_is_turned_square_to_the_camera(kit: SimpleNamespace, yaw: float) -> None:
    triangles = _triangles(kit, 3, 1, 1, yaw)
    assert front_yaw_degrees(triangles) == pytest.approx(-yaw, abs=0.01)


def test_a_narrow_front_gives_way_to_a_wide_side(kit: SimpleNamespace) -> None:
    assert abs(front_yaw_degrees(_triangles(kit, 1, 1, 3, 0))) == pytest.approx(90, abs=0.01)


@pytest.mark.parametrize(("width", "depth"), [(1.0, 1.0), (1.0, 1.2), (3.0, 1.0)])
def test_a_front_within_a_fifth_of_the_largest_stays(kit: SimpleNamespace, width: float, depth: float) -> None:
    assert front_yaw_degrees(_triangles(kit, width, 1, depth, 0)) == 0.0


def test_two_faces_within_a_fifth_leave_the_photo_as_it_is(kit: SimpleNamespace) -> None:
    assert front_yaw_degrees(_triangles(kit, 1.0, 1, 0.9, 40)) == 0.0


def test_round_things_and_lids_stay(kit: SimpleNamespace) -> None:
    ball = kit.sphere({})
    assert front_yaw_degrees(ball.positions[ball.indices]) == 0.0
    assert front_yaw_degrees(np.array([[[0, 0, 0], [0, 0, 1], [1, 0, 0]]], float)) == 0.0


def test_what_is_nowhere_flat_keeps_the_photos_view(kit: SimpleNamespace) -> None:
    """A lens-shaped body has most area where it is widest, but no face."""
    ball = kit.sphere({})
    lens = ball.positions * (1.0, 1.0, 0.4) @ yaw_matrix(30)[:3, :3].T
    assert front_yaw_degrees(lens[ball.indices]) == 0.0


def test_the_unseen_back_never_becomes_the_front() -> None:
    """A wedge whose back alone is upright and large stays with its sloping front to the camera."""
    outline = np.array([(0, -1), (1, -1), (0, 1)])  # y, z: upright at the back, sloping in front
    left, right = (np.column_stack([np.full(3, x), outline]) for x in (-2.0, 2.0))
    a, b, c = range(3)
    corners = np.concatenate([left, right])
    sides = [(a, c, b), (a + 3, b + 3, c + 3), (a, b, b + 3), (a, b + 3, a + 3), (b, c, c + 3), (b, c + 3, b + 3)]
    assert abs(front_yaw_degrees(corners[np.array(sides)])) == 0.0


def test_a_yaw_is_a_turn_from_z_towards_x() -> None:
    np.testing.assert_allclose(yaw_matrix(90) @ (0, 0, 1, 1), (1, 0, 0, 1), atol=1e-12)
