"""The plates: same seed, same bytes; no banding, no tiling, no sharp backdrop."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from lensora.core.engines import NullContext
from lensora.core.scene import Scene
from services.background.core.build import build_scene
from services.background.core.catalogue import PROMPTED, STUDIO
from services.background.core.noise import NoiseField, NoiseKit

SPECS = {spec.name: spec for spec in (STUDIO, *PROMPTED)}

Build = Callable[[str], Scene]
every_scene = pytest.mark.parametrize("name", SPECS)


def test_noise_is_normal_repeatable_and_averages_away_with_distance() -> None:
    field, again = (NoiseField(np.random.default_rng(3), 1.0, 1.0, 512.0) for _ in range(2))
    u, v = (axis.astype(np.float32) for axis in np.meshgrid(np.arange(512) / 512, np.arange(512) / 512))
    fine = field.sample(u, v, 1 / 1024)
    assert np.array_equal(fine, again.sample(u, v, 1 / 1024))
    assert abs(fine.mean()) < 0.05 and 0.9 < fine.std() < 1.1
    spreads = [float(field.sample(u, v, footprint).std()) for footprint in (1 / 1024, 1 / 64, 1 / 8)]
    assert spreads[0] > spreads[1] > spreads[2]
    np.testing.assert_allclose(field.sample(u + np.float32(3), v - np.float32(2), 1 / 1024), fine, atol=2e-2)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_surface(scene: Build) -> None:
    first = scene("marble-countertop")
    again, other = (build_scene(SPECS["marble-countertop"], 320, 180, seed, NullContext().progress) for seed in (0, 1))
    assert np.array_equal(first.plate, again.plate)
    assert np.array_equal(first.environment, again.environment)
    assert np.abs(first.plate[100:].astype(int) - other.plate[100:]).mean() > 3


@pytest.mark.parametrize(("width", "height"), [(256, 960), (960, 256), (258, 258)])
def test_every_shape_of_frame_gets_its_plate(width: int, height: int) -> None:
    built = build_scene(SPECS["rustic-wood"], width, height, 7, NullContext().progress)
    assert built.plate.shape == (height, width, 3)
    _, y = built.camera.project(np.zeros((1, 3)), width, height)[0]
    assert 0.7 * height < y < 0.9 * height


@every_scene
def test_the_plate_is_exposed_like_a_photograph(scene: Build, name: str) -> None:
    plate = scene(name).plate
    assert 40 < plate.mean() < 225
    assert (plate.min(axis=2) == 255).mean() < 0.12  # a blown window is allowed, a blown picture is not
    assert (plate.max(axis=2) == 0).mean() < 0.02


@every_scene
def test_smooth_areas_are_dithered(scene: Build, name: str) -> None:
    """Neighbouring pixels of a gradient differ by noise, so that no 8-bit step forms a line."""
    top = scene(name).plate[:30].astype(np.int16)
    unclipped = (top.max(axis=2) < 250) & (top.min(axis=2) > 3)
    same = (np.diff(top[..., 1], axis=1) == 0) & unclipped[:, 1:]
    assert same.sum() < 0.7 * unclipped[:, 1:].sum()


@pytest.mark.parametrize("name", ["marble-countertop", "linen-kitchen", "rustic-wood"])
def test_the_backdrop_is_out_of_focus_and_the_ground_at_the_subject_is_not(scene: Build, name: str) -> None:
    grey = cv2.GaussianBlur(cv2.cvtColor(scene(name).plate, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    assert detail[130:160].mean() > 1.5 * detail[5:60].mean()


def test_the_kit_gives_each_purpose_its_own_numbers() -> None:
    kit = NoiseKit.from_seed(5)
    assert kit.rng(1).integers(1 << 30) == kit.rng(1).integers(1 << 30)
    assert kit.rng(1).integers(1 << 30) != kit.rng(2).integers(1 << 30)
