"""The camera's three descriptions agree, and a scene that cannot be drawn cannot be made."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from lensora.core.scene import Camera, Ground, KeyLight, Scene, Vector

SIZES = ("subject_height", "subject_width", "focus_distance", "exposure")
CAMERA = Camera((0.4, 1.1, 2.5), (0.0, 0.3, 0.1), 32.0)


def scene(**changes: Any) -> Scene:
    fields: dict[str, Any] = {
        "name": "test",
        "plate": np.zeros((90, 160, 3), np.uint8),
        "environment": np.ones((8, 16, 3), np.float32),
        "key_light": KeyLight((0.0, 0.8, 0.6), (1.0, 1.0, 1.0), 5.0),
        "ground": Ground((0.5, 0.5, 0.5), 0.9),
        "camera": CAMERA,
        "subject_height": 0.4,
        "subject_width": 0.6,
        "focus_distance": 2.5,
    }
    return Scene(**(fields | changes))


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (256, 256)])
def test_project_agrees_with_the_matrices(size: tuple[int, int]) -> None:
    width, height = size
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    world = np.concatenate([points, np.ones((50, 1))], 1)
    clip = world @ CAMERA.view_matrix().T @ CAMERA.projection_matrix(width / height, 0.1, 50.0).T
    device = clip[:, :3] / clip[:, 3:]
    assert (np.abs(device[:, 2]) < 1).all()
    expected = np.stack([(device[:, 0] + 1) / 2 * width, (1 - device[:, 1]) / 2 * height], 1)
    assert CAMERA.project(points, width, height) == pytest.approx(expected, abs=1e-9)


def test_the_target_is_in_the_middle_and_up_is_up() -> None:
    target = np.array([CAMERA.target])
    assert CAMERA.project(target, 640, 480) == pytest.approx(np.array([[320.0, 240.0]]))
    above = CAMERA.project(target + np.array([0, 0.1, 0]), 640, 480)[0]
    assert above[0] == pytest.approx(320.0) and above[1] < 240.0, "no roll"
    view = CAMERA.view_matrix()[:3, :3]
    assert view @ view.T == pytest.approx(np.eye(3), abs=1e-12) and np.linalg.det(view) == pytest.approx(1.0)


def test_the_field_of_view_is_from_edge_to_edge() -> None:
    camera = Camera((0, 0, 5), (0, 0, 0), 40.0)
    top = 5 * math.tan(math.radians(20))
    assert camera.project(np.array([[0.0, top, 0.0]]), 800, 600)[0] == pytest.approx((400.0, 0.0), abs=1e-9)


def test_near_and_far_are_the_ends_of_clip_space() -> None:
    matrix = CAMERA.projection_matrix(1.0, 0.5, 20.0)
    for distance, depth in ((0.5, -1.0), (20.0, 1.0)):
        clip = matrix @ (0, 0, -distance, 1)
        assert clip[2] / clip[3] == pytest.approx(depth)


@pytest.mark.parametrize(
    ("position", "target", "fov"),
    [
        ((math.nan, 0, 1), (0, 0, 0), 30),
        ((0, 0, 1), (0, math.inf, 0), 30),
        ((0, 0, 1), (0, 0, 1), 30),
        ((0, 2, 0), (0, 0, 0), 30),
        ((0, -2, 0), (0, 0, 0), 30),
        ((0, 0, 1), (0, 0, 0), 1.0),
        ((0, 0, 1), (0, 0, 0), 120.0),
        ((0, 0, 1), (0, 0, 0), math.nan),
    ],
)
def test_a_camera_that_sees_nothing_is_refused(position: Vector, target: Vector, fov: float) -> None:
    with pytest.raises(ValueError, match="camera"):
        Camera(position, target, fov)


@pytest.mark.parametrize(
    "changes",
    [
        {"plate": np.zeros((90, 160, 3), np.float32)},
        {"plate": np.zeros((90, 160, 4), np.uint8)},
        {"plate": np.zeros((90, 160), np.uint8)},
        {"environment": np.ones((8, 15, 3), np.float32)},
        {"environment": np.ones((8, 16), np.float32)},
        {"environment": np.ones((8, 16, 3), np.float64)},
        {"key_light": KeyLight((0.0, 1.0, 1.0), (1.0, 1.0, 1.0), 5.0)},
        {"key_light": KeyLight((0.0, math.nan, 0.0), (1.0, 1.0, 1.0), 5.0)},
        {"key_light": KeyLight((0.0, -1.0, 0.0), (1.0, 1.0, 1.0), 5.0)},
        {"key_light": KeyLight((0.0, 1.0, 0.0), (math.nan, 1.0, 1.0), 5.0)},
        {"key_light": KeyLight((0.0, 1.0, 0.0), (-1.0, 1.0, 1.0), 5.0)},
        {"key_light": KeyLight((0.0, 1.0, 0.0), (1.0, 1.0, 1.0), math.nan)},
        {"key_light": KeyLight((0.0, 1.0, 0.0), (1.0, 1.0, 1.0), -1.0)},
        {"key_light": KeyLight((0.0, 1.0, 0.0), (1.0, 1.0, 1.0), 90.0)},
        {"ground": Ground((math.inf, 0.5, 0.5), 0.5)},
        {"ground": Ground((1.5, 0.5, 0.5), 0.5)},
        {"ground": Ground((-0.1, 0.5, 0.5), 0.5)},
        {"ground": Ground((0.5, 0.5, 0.5), math.nan)},
        {"ground": Ground((0.5, 0.5, 0.5), 1.5)},
        *({name: value} for name in SIZES for value in (0.0, -1.0, math.nan, math.inf)),
    ],
)
def test_a_scene_that_cannot_be_drawn_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|positive"):
        scene(**changes)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_lie_between_a_millionth_and_a_million(name: str) -> None:
    """Beyond, products of a few of them overflow in single precision."""
    for good in (1e-6, 1e6):
        assert getattr(scene(**{name: good}), name) == good
    for bad in (0.99e-6, 1.01e6, 1e-320, 1e308):
        with pytest.raises(ValueError, match=f"{name}.*from 1e-06 to 1e\\+06 expected"):
            scene(**{name: bad})


@pytest.mark.parametrize("axis", range(3))
def test_places_and_light_lie_within_a_million(axis: int) -> None:
    def along(value: float) -> Vector:
        place = [0.5, 0.5, 0.5]
        place[axis] = value
        return place[0], place[1], place[2]

    for good in (1e6, -1e6):
        assert Camera(along(good), (0, 0, 0), 30).position[axis] == good
        assert Camera((0, 0, 1), along(good), 30).target[axis] == good
    assert scene(key_light=KeyLight((0, 1, 0), along(1e6), 5.0)).key_light.irradiance[axis] == 1e6
    for bad in (1.01e6, -1.01e6, 1e308, -math.inf):
        with pytest.raises(ValueError, match=r"camera\.position"):
            Camera(along(bad), (0, 0, 0), 30)
        with pytest.raises(ValueError, match=r"camera\.target"):
            Camera((0, 0, 1), along(bad), 30)
    with pytest.raises(ValueError, match=r"key_light\.irradiance"):
        scene(key_light=KeyLight((0, 1, 0), along(1.01e6), 5.0))


def test_the_tighter_side_sets_the_subject_s_scale() -> None:
    made = scene()
    assert made.subject_scale(1.0, 1.0) == 0.4
    assert made.subject_scale(3.0, 1.0) == pytest.approx(0.2)
    assert made.subject_scale(0.001, 2.0) == pytest.approx(0.2)
    for width, height in ((0, 1), (1, 0), (math.nan, 1), (1, math.nan), (-1, 1)):
        with pytest.raises(ValueError, match="positive size"):
            made.subject_scale(width, height)


def test_a_scene_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        scene().name = "other"  # type: ignore[misc]
