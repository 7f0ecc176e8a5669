"""Framing, rays and lens against the definitions they must agree with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lensora.core.scene import Camera
from services.background.core import lens
from services.background.core.framing import RayGrid, panorama_directions, product_framing


@pytest.mark.parametrize("aspect", [256 / 1920, 9 / 16, 1.0, 16 / 9, 1920 / 256])
def test_the_largest_subject_stands_inside_the_frame_with_its_foot_showing(aspect: float) -> None:
    framing = product_framing(aspect, 11.0, 28.0)
    height, width = 1000, round(1000 * aspect)
    half = framing.subject_width / 2
    corners = np.array([(x, y, 0.0) for x in (-half, half) for y in (0.0, framing.subject_height)])
    x, y = framing.camera.project(corners, width, height).T
    assert x.min() > 0.1 * width and x.max() < 0.9 * width
    assert 0.15 * height < y.min() and y.max() < 0.85 * height
    assert 0.55 < (y.max() - y.min()) / height < 0.65


def test_the_camera_looks_down_by_the_elevation_asked_for() -> None:
    camera = product_framing(1.5, 12.0, 28.0).camera
    drop = np.array(camera.position) - np.array(camera.target)
    assert math.degrees(math.asin(drop[1] / np.linalg.norm(drop))) == pytest.approx(12.0)


def test_rays_meet_the_ground_where_the_scene_camera_projects_it_to() -> None:
    rays = RayGrid(product_framing(1.6, 11.0, 28.0).camera, 160, 100)
    depth, (_, ray_z) = rays.ground_depth(), rays.rows()
    for row in (50, 75, 99):
        x = depth[row] * rays.columns()
        z = rays.camera.position[2] + depth[row] * ray_z[row]
        points = np.stack([x, np.zeros(160), np.full(160, z)], 1)
        pixels = rays.camera.project(points, 160, 100)
        np.testing.assert_allclose(pixels[:, 0], np.arange(160) + 0.5, atol=1e-3)
        np.testing.assert_allclose(pixels[:, 1], row + 0.5, atol=1e-3)


def test_ground_points_project_back_to_their_pixels_from_any_side() -> None:
    rays = RayGrid(Camera((0.7, 0.4, -0.9), (0.1, 0.1, 0.0), 30.0), 120, 80)
    x, z = rays.ground_points(60)
    points = np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3)
    pixels = rays.camera.project(points, 120, 80).reshape(20, 120, 2)
    np.testing.assert_allclose(pixels[..., 0], np.broadcast_to(np.arange(120) + 0.5, (20, 120)), atol=2e-3)
    np.testing.assert_allclose(pixels[..., 1], np.broadcast_to(np.arange(60, 80)[:, None] + 0.5, (20, 120)), atol=2e-3)


def test_rows_above_the_horizon_never_meet_the_ground() -> None:
    rays = RayGrid(product_framing(1.0, 9.5, 30.0).camera, 64, 64)
    _, elevation = rays.directions()
    assert np.array_equal(np.isinf(rays.ground_depth()), elevation[:, 32] > 0)


def test_panorama_follows_the_scene_convention() -> None:
    azimuth, elevation = panorama_directions(64)
    assert elevation[0, 0] > 88 and elevation[-1, 0] < -88
    assert abs(azimuth[0, 64]) < 3  # the centre column is -Z
    assert abs(azimuth[0, 96] - 90) < 3  # a quarter to its right is +X


def test_nothing_is_blurred_in_the_plane_of_focus_and_more_beyond() -> None:
    radii = lens.blur_radius(np.array([0.7, 1.0, 2.0, 4.0, np.inf]), 1.0, 0.04, 1000.0)
    assert radii[1] == 0
    assert radii[4] == pytest.approx(20.0)
    assert np.all(np.diff(radii[1:]) > 0) and radii[0] > 0


@pytest.mark.parametrize("radius", [0.5, 3.0, 9.0, 25.0])
def test_disc_blur_keeps_the_light_and_spreads_it_evenly(radius: float) -> None:
    picture = np.zeros((161, 161, 3), np.float32)
    picture[80, 80] = 1.0
    blurred = lens.disc_blur(picture, radius)[..., 0]
    assert blurred.sum() == pytest.approx(1.0, rel=0.02)
    y, x = np.mgrid[0:161, 0:161] - 80
    assert blurred[np.hypot(x, y) > radius + 6].max() < 1e-9
    inside = blurred[np.hypot(x, y) < radius - 5]
    assert inside.size == 0 or inside.std() < 0.12 * inside.mean()


def test_row_blur_with_one_radius_is_nearly_a_disc_blur() -> None:
    picture = np.random.default_rng(0).random((80, 90, 4), dtype=np.float32)
    radius = 0.5 * math.sqrt(2) ** 5  # a rung of the ladder: no blending
    np.testing.assert_allclose(lens.row_blur(picture, np.full(80, radius)), lens.disc_blur(picture, radius), atol=1e-5)


def test_row_blur_leaves_sharp_rows_alone() -> None:
    picture = np.random.default_rng(0).random((80, 90, 4), dtype=np.float32)
    radii = np.linspace(12.0, 0.0, 80)
    blurred = lens.row_blur(picture, radii)
    np.testing.assert_allclose(blurred[-2:], picture[-2:], atol=1e-6)
    assert blurred[:20].std() < 0.3 * picture[:20].std()
