"""Radiometry: plate, environment, key light and exposure tell one story."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lensora.core.imaging import srgb_to_linear
from lensora.core.scene import KeyLight, Scene
from services.background.core import lighting
from services.background.core.catalogue import PROMPTED, STUDIO
from services.background.core.framing import RayGrid, panorama_directions
from services.background.core.moods import MOODS, PAPERS, adjusted

SPECS = {spec.name: spec for spec in (STUDIO, *PROMPTED)}

Build = Callable[[str], Scene]
every_scene = pytest.mark.parametrize("name", SPECS)


def test_a_uniform_environment_gives_pi_times_its_radiance() -> None:
    white = np.ones((128, 256, 3), np.float32)
    for normal in (lighting.UP, lighting.FACING_CAMERA, (1.0, 0.0, 0.0)):
        np.testing.assert_allclose(lighting.environment_irradiance(white, normal), math.pi, rtol=1e-3)


def test_light_from_one_side_reaches_only_surfaces_that_face_it() -> None:
    azimuth, _ = panorama_directions(64)
    environment = np.repeat(((azimuth > 80) & (azimuth < 100))[..., None], 3, axis=2).astype(np.float32)
    right, left = (lighting.environment_irradiance(environment, (x, 0.0, 0.0))[0] for x in (1.0, -1.0))
    assert right > 0.3 and left == 0


@every_scene
def test_a_lit_white_card_is_bright_and_not_clipped(scene: Build, name: str) -> None:
    built = scene(name)
    display = built.exposure * lighting.card_radiance(built.environment, built.key_light)
    assert 0.6 <= display @ lighting.LUMINANCE <= 0.85
    assert display.max() <= lighting.CARD_CEILING + 1e-6
    assert display.min() > 0.35  # coloured light, not a coloured filter


@every_scene
def test_the_plate_shows_the_ground_that_the_light_and_albedo_predict(scene: Build, name: str) -> None:
    built = scene(name)
    received = lighting.environment_irradiance(built.environment, lighting.UP)
    received = received + lighting.key_irradiance(built.key_light, lighting.UP)
    predicted = built.exposure * np.array(built.ground.albedo) * received / math.pi
    x, y = built.camera.project(np.zeros((1, 3)), 320, 180)[0].astype(int)
    seen = srgb_to_linear(built.plate[y - 15 :, x - 110 : x + 110]).mean(axis=(0, 1))
    # the plate has gloss, texture, dappled shade and a film shoulder that the prediction has not
    assert 0.5 < (seen @ lighting.LUMINANCE) / (predicted @ lighting.LUMINANCE) < 1.6


@every_scene
def test_the_environment_shows_the_backdrop_of_the_plate(scene: Build, name: str) -> None:
    built = scene(name)
    rays = RayGrid(built.camera, 320, 180)
    azimuth, elevation = (angles[:12] for angles in rays.directions())  # the top of the plate is all backdrop
    rows = ((90 - elevation) / 180 * 256).astype(int)
    columns = ((azimuth / 360 + 0.5) * 512).astype(int)
    around = np.clip(built.exposure * built.environment[rows, columns], 0, 1).mean(axis=(0, 1))
    plate = srgb_to_linear(built.plate[:12]).mean(axis=(0, 1))
    assert 0.6 < (plate @ lighting.LUMINANCE) / (around @ lighting.LUMINANCE) < 1.5


@every_scene
def test_the_environment_is_brightest_on_the_side_of_the_key(scene: Build, name: str) -> None:
    built = scene(name)
    side = math.copysign(1.0, built.key_light.direction[0])
    towards, away = (lighting.environment_irradiance(built.environment, (x, 0.0, 0.0)).sum() for x in (side, -side))
    assert towards > 1.1 * away


@every_scene
def test_below_the_horizon_the_environment_is_the_lit_ground(scene: Build, name: str) -> None:
    built = scene(name)
    below = built.environment[-40:].mean(axis=(0, 1))
    colour = below / below.sum() - np.array(built.ground.albedo) / sum(built.ground.albedo)
    assert np.abs(colour).max() < 0.12
    assert built.environment[-40:].std(axis=(0, 1)).max() < 1e-3


def test_key_share_follows_the_balance_of_key_and_sky(scene: Build) -> None:
    built = scene("dark-slate")
    share = lighting.key_share_of_ground(built)
    sky = lighting.environment_irradiance(built.environment, lighting.UP)
    key = lighting.key_irradiance(built.key_light, lighting.UP)
    np.testing.assert_allclose(share * (sky + key), key)
    assert np.all((share > 0.3) & (share < 0.9))


def test_exposure_spares_the_strongest_channel_of_coloured_light() -> None:
    dark = np.full((32, 64, 3), 1e-4, np.float32)
    key = KeyLight((0.0, 0.6, 0.8), (9.0, 1.0, 1.0), 1.0)
    gain = lighting.exposure_for_card(dark, key, 0.8)
    assert gain * lighting.card_radiance(dark, key).max() == pytest.approx(lighting.CARD_CEILING)


def test_words_darken_the_room_but_never_a_scene_with_its_own_light() -> None:
    marble = SPECS["marble-countertop"]
    night = adjusted(marble, "a marble table by NIGHT")
    assert night.key.to_fill > 2 * marble.key.to_fill and night.card_level < marble.card_level
    assert adjusted(marble, "a marble table, nightly") is marble
    assert adjusted(SPECS["beach-sunset"], "a warm beach at sunset") is SPECS["beach-sunset"]


def test_words_colour_only_paper() -> None:
    mint = adjusted(SPECS["pastel-studio"], "mint studio")
    assert tuple(np.round(mint.stage.tint, 3)) == PAPERS["mint"]
    assert adjusted(SPECS["marble-countertop"], "mint marble") is SPECS["marble-countertop"]


def test_mood_words_belong_to_one_mood() -> None:
    words = [word for mood in MOODS for word in mood.words]
    assert len(words) == len(set(words))
