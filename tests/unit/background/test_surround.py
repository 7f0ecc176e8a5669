"""A flat picture's scene: the picture unstretched, light that fits it, a ground under the subject."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lensora.core.engines import NullContext
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import srgb_to_linear
from lensora.core.scene import Scene
from services.background.core import lighting
from services.background.core.compose import compose, place
from services.background.core.sentences import Encoder
from services.background.core.surround import cover, picture_framing, scene_around
from services.background.engine import PictureBackdrop, SceneRequest, SceneResult
from services.background.engines.embedded import EmbeddedEngine

Picture = NDArray[np.uint8]


def landscape(bright: float, side: int, width: int = 640, height: int = 400) -> Picture:
    """Sky over ground; the sky is lighter towards ``side`` (−1 left, 1 right)."""
    sky = bright * (0.6 + 0.4 * side * np.linspace(-1, 1, width))
    picture = np.zeros((height, width, 3))
    picture[: height // 2] = sky[:, None] * np.array((0.75, 0.85, 1.0))
    picture[height // 2 :] = bright * np.array((0.45, 0.4, 0.3))
    return np.asarray(picture * 255, np.uint8)


def around(picture: Picture, width: int = 320, height: int = 180) -> Scene:
    return scene_around(picture, width, height, NullContext().progress)


PICTURES = {
    "day": landscape(1.0, -1),
    "dusk": landscape(0.3, 1),
    "night": landscape(0.06, 1),
    "white": np.full((90, 160, 3), 255, np.uint8),
    "black": np.zeros((90, 160, 3), np.uint8),
    "red": np.full((90, 160, 3), (255, 0, 0), np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8),
}


@pytest.mark.parametrize(("wide", "tall"), [(1600, 900), (900, 1600), (333, 1000), (64, 48), (4000, 101)])
@pytest.mark.parametrize(("width", "height"), [(320, 180), (256, 256), (256, 640)])
def test_a_picture_is_cropped_and_never_stretched(wide: int, tall: int, width: int, height: int) -> None:
    """A circle in its middle stays a circle."""
    radius = min(wide, tall, tall * width / height, wide * height / width) * 0.3
    y, x = np.mgrid[0:tall, 0:wide]
    inside = np.hypot(x + 0.5 - wide / 2, y + 0.5 - tall / 2) < radius
    plate = cover(np.repeat((inside * 255).astype(np.uint8)[..., None], 3, axis=2), width, height)
    assert plate.shape == (height, width, 3)
    disc = plate[..., 0] > 127
    across, down = np.count_nonzero(disc.any(axis=0)), np.count_nonzero(disc.any(axis=1))
    scale = max(width / wide, height / tall)
    assert across == pytest.approx(2 * radius * scale, abs=2 + scale) and abs(across - down) <= 2 + scale


@pytest.mark.parametrize("name", PICTURES)
def test_a_lit_white_card_is_bright_and_not_clipped(name: str) -> None:
    built = around(PICTURES[name])
    display = built.exposure * lighting.card_radiance(built.environment, built.key_light)
    assert display.max() <= lighting.CARD_CEILING + 1e-6
    if name != "red":  # where there is no other light, a card is red
        assert 0.6 <= display @ lighting.LUMINANCE <= 0.85
        assert display.min() > 0.35


@pytest.mark.parametrize("name", ["day", "dusk", "night"])
def test_what_is_seen_behind_the_subject_is_as_bright_as_the_plate(name: str) -> None:
    built = around(PICTURES[name])
    rows, columns = built.environment.shape[:2]
    seen = built.exposure * built.environment[rows // 2 - 12 : rows // 2 - 4, columns // 2 - 8 : columns // 2 + 8]
    plate = srgb_to_linear(built.plate[40:70, 120:200])
    assert np.clip(seen, 0, 1).mean() == pytest.approx(float(plate.mean()), rel=0.5)


@pytest.mark.parametrize("name", ["day", "dusk", "night"])
def test_the_ground_is_as_bright_as_the_plates(name: str) -> None:
    built = around(PICTURES[name])
    received = lighting.environment_irradiance(built.environment, lighting.UP)
    received = received + lighting.key_irradiance(built.key_light, lighting.UP)
    predicted = built.exposure * np.array(built.ground.albedo) * received / math.pi
    seen = srgb_to_linear(built.plate[-30:, 80:240]).mean(axis=(0, 1))
    assert (predicted @ lighting.LUMINANCE) / (seen @ lighting.LUMINANCE) == pytest.approx(1.0, rel=0.35)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_key_is_on_the_brighter_side_and_the_shadow_on_the_other(side: int) -> None:
    built = around(landscape(1.0, side))
    assert np.sign(built.key_light.direction[0]) == side and built.key_light.direction[2] > 0
    post = np.zeros((200, 60, 4), np.uint8)
    post[..., 3] = 255
    lost = 1 - srgb_to_linear(compose(post, built, NullContext().progress)) / srgb_to_linear(built.plate)
    foot = int(place(60, 200, built).foot[1])
    left, right = lost[foot - 25 : foot, 10:110].sum(), lost[foot - 25 : foot, 210:310].sum()
    assert side * (left - right) > 20


@pytest.mark.parametrize("aspect", [16 / 9, 1.0, 256 / 1920, 1920 / 256])
def test_the_camera_sees_horizon_and_foot_where_they_are_assumed(aspect: float) -> None:
    framing = picture_framing(aspect)
    points = np.array([[0, 0, 0], [0, framing.subject_height, 0], [0, 0, -1e6], [framing.subject_width, 0, 0]])
    (x, foot), (_, head), (_, horizon), (right, _) = framing.camera.project(points, 1000 * 2, 1000)
    assert x == pytest.approx(1000) and foot == pytest.approx(890) and horizon == pytest.approx(420, abs=1)
    assert foot - head == pytest.approx(600, rel=0.05)
    assert (right - x) / 1000 == pytest.approx(0.7 * aspect, rel=0.01)


def test_the_same_picture_gives_the_same_scene() -> None:
    first, second = around(PICTURES["noise"]), around(PICTURES["noise"])
    assert np.array_equal(first.plate, second.plate) and np.array_equal(first.environment, second.environment)
    assert first.key_light == second.key_light and first.exposure == second.exposure


def png(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def test_the_engine_says_what_it_took(letters: Encoder) -> None:
    engine = EmbeddedEngine(letters)
    backdrop = PictureBackdrop(png(PICTURES["day"]), "background.picture", "your own picture")
    results = [engine.run(SceneRequest(backdrop, 256, 256, seed), NullContext()) for seed in (0, 7)]
    first, second = results
    assert isinstance(first, SceneResult) and isinstance(second, SceneResult)
    assert first.exact and first.scene.name == "picture"
    assert first.note == "The background is your own picture (640 x 400), its middle cropped to 256 x 256."
    assert np.array_equal(first.scene.plate, second.scene.plate), "no seed changes a picture"


def test_a_small_picture_is_said_to_be_soft(letters: Encoder) -> None:
    backdrop = PictureBackdrop(png(PICTURES["white"]), "background.url", "the picture linked at a.example")
    result = EmbeddedEngine(letters).run(SceneRequest(backdrop, 640, 360), NullContext())
    assert isinstance(result, SceneResult)
    assert result.note == (
        "The background is the picture linked at a.example (160 x 90); it is smaller than the film, so it looks soft."
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "IMAGE_EMPTY"), (b"<html>", "IMAGE_WRONG_TYPE"), (png(PICTURES["day"])[:-40], "IMAGE_UNDECODABLE")],
)
def test_what_is_no_picture_is_refused_by_its_field(letters: Encoder, data: bytes, reason: str) -> None:
    backdrop = PictureBackdrop(data, "background.url", "the picture linked at a.example")
    with pytest.raises(InvalidArgument) as caught:
        EmbeddedEngine(letters).run(SceneRequest(backdrop, 256, 256), NullContext())
    assert caught.value.reason == reason
    assert [violation.field for violation in caught.value.violations] == ["background.url"]
