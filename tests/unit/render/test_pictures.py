"""Frames drawn by the real passes: energy, shadows, edges, and golden pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.imaging import encode_png, linear_to_srgb, srgb_to_linear
from lensora.core.scene import Scene

Picture = NDArray[np.uint8]
Photograph = Callable[..., Picture]

_WHITE = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}


def _furnace(kit: SimpleNamespace, size: tuple[int, int] = (256, 256)) -> Scene:
    """Light of radiance 1 from everywhere, shown as display 0.5."""
    scene: Scene = kit.make_scene(size, environment=np.ones((32, 64, 3), np.float32), key=0.0, exposure=0.5)
    return scene


def _disc(scene: Scene, share: float) -> NDArray[np.bool_]:
    """Pixels within ``share`` of the radius of a sphere that stands in ``scene``, above what its shadow reaches."""
    height, width = scene.plate.shape[:2]
    radius = scene.subject_height / 2
    middle, right = scene.camera.project(np.array([[0, radius, 0], [radius, radius, 0]]), width, height)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    near = np.hypot(x - middle[0], y - middle[1]) < share * (right[0] - middle[0])
    return np.asarray(near & (y < middle[1] - 0.3 * (right[0] - middle[0])))


@pytest.mark.parametrize("roughness", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_white_furnace(kit: SimpleNamespace, photograph: Photograph, roughness: float, metallic: float) -> None:
    """A white sphere under uniform light reflects all of it, whatever its finish: it vanishes."""
    scene = _furnace(kit)
    material = {"pbrMetallicRoughness": {"metallicFactor": metallic, "roughnessFactor": roughness}}
    picture = srgb_to_linear(photograph(kit.make_glb([kit.sphere(material)]), scene))
    seen = picture[_disc(scene, 0.97)]
    np.testing.assert_allclose(seen, 0.5, rtol=0.05)


def test_the_key_light_obeys_lambert(kit: SimpleNamespace, photograph: Photograph) -> None:
    """Without an environment, a matt floor-facing-up patch shows albedo / pi * E * cos; its back is black."""
    scene = kit.make_scene(environment=np.full((8, 16, 3), 1e-6, np.float32), key=3.0)
    pbr = {"baseColorFactor": [0.5, 0.5, 0.5, 1], "metallicFactor": 0.0, "roughnessFactor": 1.0}
    picture = photograph(kit.make_glb([kit.sphere({"pbrMetallicRoughness": pbr})]), scene)
    radius = scene.subject_height / 2
    light = np.array(scene.key_light.direction)
    points = np.array([0, radius, 0]) + radius * np.array([light, (0.8, 0.0, 0.6)])
    columns, rows = scene.camera.project(points, 256, 256).astype(int).T
    lit, across = srgb_to_linear(picture[rows, columns])[:, 1]
    expected = scene.exposure * 3.0 * 0.5 / np.pi
    assert lit == pytest.approx(expected, rel=0.12), "diffuse plus a little gloss"
    cosine = float(np.dot(light, (0.8, 0.0, 0.6)))
    assert cosine < 0
    assert across == pytest.approx(0.0, abs=0.01)


def _ground(scene: Scene, picture: Picture, x: float, z: float) -> float:
    """Share of the plate's light left at a place on the ground."""
    height, width = scene.plate.shape[:2]
    column, row = scene.camera.project(np.array([[x, 0.0, z]]), width, height)[0].astype(int)
    around = slice(row - 1, row + 2), slice(column - 1, column + 2)
    return float(srgb_to_linear(picture[around]).mean() / srgb_to_linear(scene.plate[around]).mean())


def test_the_shadow_falls_away_from_the_light_and_is_attached(kit: SimpleNamespace, photograph: Photograph) -> None:
    scene = kit.make_scene((640, 360), key=6.0)
    picture = photograph(kit.make_glb(kit.box(1, 1, 1)), scene)
    half = scene.subject_height / 2
    away = [_ground(scene, picture, half + gap, -0.02) for gap in (0.03, 0.06, 0.35)]
    assert away[0] < 0.45, "dark where the box touches the ground"
    assert away[0] <= away[1] + 0.02
    assert away[2] > 0.9, "light comes back"
    towards = _ground(scene, picture, -half - 0.15, 0.1)
    assert towards > 0.85, "no cast shadow on the side of the light"
    in_front = [_ground(scene, picture, 0.0, half + gap) for gap in (0.006, 0.03, 0.12)]
    assert in_front[0] < in_front[1] < in_front[2], "contact shadow fades with distance"
    assert in_front[0] < 0.8


def test_far_from_the_subject_the_plate_is_untouched(kit: SimpleNamespace, photograph: Photograph) -> None:
    scene = kit.make_scene((640, 360))
    picture = photograph(kit.make_glb(kit.box(1, 1, 1)), scene)
    np.testing.assert_allclose(picture[:40].astype(int), scene.plate[:40], atol=1)


def test_the_shadow_is_smooth(kit: SimpleNamespace, photograph: Photograph) -> None:
    """No noise, no bands: across the penumbra of a thin pole brightness changes in small steps."""
    scene = kit.make_scene((640, 360), key=6.0)
    picture = photograph(kit.make_glb(kit.box(0.1, 1, 0.1)), scene).astype(int)
    tip = -np.array(scene.key_light.direction) / scene.key_light.direction[1] * scene.subject_height * 0.8
    column, row = scene.camera.project(np.array([[tip[0], 0.0, tip[2]]]), 640, 360)[0].astype(int)
    across = picture[row - 20 : row + 20, column - 60 : column + 60, 1]
    assert np.ptp(across) > 5, "there is a shadow"
    assert np.abs(np.diff(across, axis=1)).max() <= 4
    curvature = np.abs(np.diff(across, n=2, axis=1))
    assert curvature.max() <= 3


def test_edges_blend_with_the_plate(kit: SimpleNamespace, photograph: Photograph) -> None:
    """Along a leaning edge the share of bright pixels steps by quarters: multisampling is on."""
    black = np.zeros((256, 256, 3), np.uint8)
    scene = kit.make_scene(environment=np.ones((16, 32, 3), np.float32), key=0.0, plate=black, exposure=1.0)
    levels = np.unique(photograph(kit.make_glb([kit.sphere(_WHITE, rings=96)]), scene)[:110, :, 1])
    for share in (0.25, 0.5, 0.75):
        wanted = linear_to_srgb(np.array([share]))[0]
        assert np.abs(levels.astype(int) - int(wanted)).min() <= 4


def test_textures_keep_their_colour_and_their_way_up(kit: SimpleNamespace, photograph: Photograph) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:] = (200, 40, 40), (40, 40, 200)
    pbr = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    ball = kit.sphere({"pbrMetallicRoughness": pbr})
    scene = kit.make_scene(environment=np.ones((16, 32, 3), np.float32), key=0.0, exposure=1.0)
    seen = photograph(kit.make_glb([ball], [encode_png(picture)]), scene).astype(int)
    radius = scene.subject_height / 2
    above, below = scene.camera.project(
        np.array([[0, 1.5 * radius, 0.8 * radius], [0, 0.75 * radius, radius]]), 256, 256
    )
    red, blue = (seen[int(row), int(column)] for column, row in (above, below))
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 80
    np.testing.assert_allclose(red, (200, 40, 40), atol=25)


def test_a_normal_map_bends_light_the_right_way(kit: SimpleNamespace, photograph: Photograph) -> None:
    """A map that leans to +u brightens the surface when the light is there."""
    flat, east = (encode_png(np.full((2, 2, 3), color, np.uint8)) for color in ((128, 128, 255), (200, 128, 220)))
    environment = np.full((16, 32, 3), 0.05, np.float32)
    environment[:, 20:28] = 3.0  # around +X
    scene = kit.make_scene(environment=environment, key=0.0)
    material: dict[str, Any] = {"normalTexture": {"index": 0}, **_WHITE}
    straight, bent = (
        photograph(kit.make_glb([kit.sphere(material)], [image]), scene)[100:150, 118:138].mean()
        for image in (flat, east)
    )
    assert bent > straight + 10


@pytest.mark.parametrize("name", ["ceramic", "chrome", "box"])
def test_golden(
    kit: SimpleNamespace, photograph: Photograph, assert_golden: Callable[[str, Picture], None], name: str
) -> None:
    scene = kit.make_scene((320, 240))
    row, column = np.mgrid[0:128, 0:256]
    checks = np.where(((row // 16 + column // 16) % 2)[..., None], (190, 70, 50), (225, 215, 195)).astype(np.uint8)
    ceramic = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 0.25}
    chrome = {"baseColorFactor": [0.9, 0.9, 0.9, 1], "metallicFactor": 1.0, "roughnessFactor": 0.05}
    glbs = {
        "ceramic": kit.make_glb([kit.sphere({"pbrMetallicRoughness": ceramic})], [encode_png(checks)]),
        "chrome": kit.make_glb([kit.sphere({"pbrMetallicRoughness": chrome})]),
        "box": kit.make_glb(kit.box(1, 0.8, 0.6, {"+z": (0.7, 0.2, 0.1), "+x": (0.1, 0.3, 0.7)})),
    }
    assert_golden(name, photograph(glbs[name], scene, 30.0))
