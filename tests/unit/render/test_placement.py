"""Where the subject stands, and that it stays in the picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.core.orient import yaw_matrix
from services.render.core.placement import place
from services.render.core.view import around, ground_matrix


def _vertices(kit: SimpleNamespace, width: float, height: float, depth: float) -> NDArray[np.float64]:
    return np.asarray(
        np.concatenate([part.positions for part in kit.box(width, height, depth)]) + np.array((3.0, 7.0, -2.0))
    )


def _placed(matrix: NDArray[np.float64], vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    return vertices @ matrix[:3, :3].T + matrix[:3, 3]


def test_the_foot_stands_on_the_ground_at_the_origin_and_the_still_agrees(kit: SimpleNamespace) -> None:
    scene = kit.make_scene((640, 360))
    vertices = _vertices(kit, 20, 30, 10)
    points = _placed(place(vertices, scene, 0.0).matrix, vertices)
    assert points[:, 1].min() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose((points.min(0) + points.max(0))[[0, 2]], 0, atol=1e-9)
    assert np.ptp(points[:, 1]) == pytest.approx(30 * scene.subject_scale(20, 30))


def test_the_size_is_that_of_the_front_after_the_yaw(kit: SimpleNamespace) -> None:
    scene = kit.make_scene((640, 360))
    vertices = _vertices(kit, 10, 1, 40)
    points = _placed(place(vertices, scene, 90.0).matrix, vertices)
    assert np.ptp(points[:, 0]) == pytest.approx(scene.subject_width)


@pytest.mark.parametrize("sides", [(1, 1, 9), (9, 1, 1), (1, 30, 1), (1, 0, 1), (5, 5, 5)])
def test_no_turn_leaves_the_picture(kit: SimpleNamespace, sides: tuple[float, float, float]) -> None:
    scene = kit.make_scene((640, 360))
    vertices = _vertices(kit, *sides)
    points = _placed(place(vertices, scene, 0.0).matrix, vertices)
    for yaw in range(0, 360, 15):
        pixels = scene.camera.project(points @ yaw_matrix(yaw)[:3, :3].T, 640, 360)
        assert (pixels >= 0).all()
        assert (pixels <= (640, 360)).all()


def test_pixels_find_their_ground(kit: SimpleNamespace) -> None:
    camera = kit.make_scene().camera
    ground = np.array([[0.1, 0.0, 0.2], [-0.3, 0.0, -0.4]])
    pixels = camera.project(ground, 640, 360)
    found = np.column_stack([pixels, np.ones(2)]) @ ground_matrix(camera, (640, 360)).T
    assert (found[:, 2] > 0).all()
    np.testing.assert_allclose(found[:, :2] / found[:, 2:], ground[:, (0, 2)], atol=1e-9)


def test_parts_of_the_picture_are_even_and_inside() -> None:
    left, top, width, height = around(np.array([[-5.0, 3.2], [31.7, 99.0]]), (64, 48), border=1)
    assert (left, top) == (0, 2)
    assert left + width == 34
    assert top + height == 48
