"""The smooth part of the environment, against integrals known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.core.lighting import ambient_light, cosine_directions, disc_directions

_AXES = np.concatenate([np.eye(3), -np.eye(3)])


def _evaluate(forms: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    points = np.column_stack([directions, np.ones(len(directions))])
    return np.asarray(np.einsum("ni,cij,nj->nc", points, forms, points))


def test_uniform_light_gives_pi_everywhere() -> None:
    light = ambient_light(np.ones((32, 64, 3), np.float32))
    np.testing.assert_allclose(_evaluate(light.irradiance, _AXES), math.pi, rtol=5e-3)
    np.testing.assert_allclose(_evaluate(light.radiance, _AXES), 1.0, rtol=5e-3)
    np.testing.assert_allclose(light.ground_radiance, 1.0, rtol=2e-3)


@pytest.mark.parametrize(
    ("axis", "rows", "columns"),
    [
        ((0, 1, 0), slice(0, 32), slice(None)),
        ((0, -1, 0), slice(32, 64), slice(None)),
        ((0, 0, -1), slice(None), slice(32, 96)),
        ((1, 0, 0), slice(None), slice(64, 128)),
        ((-1, 0, 0), slice(None), slice(0, 64)),
    ],
)
def test_a_bright_half_lights_the_side_that_faces_it(axis: tuple[int, int, int], rows: slice, columns: slice) -> None:
    environment = np.zeros((64, 128, 3), np.float32)
    environment[rows, columns] = 1.0
    light = ambient_light(environment)
    towards, away = _evaluate(light.irradiance, np.array([axis, [-value for value in axis]], float))
    np.testing.assert_allclose(towards, math.pi, rtol=0.05)
    np.testing.assert_allclose(away, 0.0, atol=0.15)


def test_cosine_directions_integrate_a_cosine() -> None:
    directions = cosine_directions(256)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    np.testing.assert_allclose(directions.mean(axis=0), (0, 2 / 3, 0), atol=5e-3)


def test_a_disc_stays_within_its_angle_and_above_the_horizon() -> None:
    center = (0.6, 0.8, 0.0)
    angles = np.degrees(np.arccos(disc_directions(center, 5.0, 32) @ center))
    assert 4.0 < angles.max() <= 5.0
    assert disc_directions((1.0, 0.0, 0.0), 20.0, 32)[:, 1].min() > 0
