"""Eighteen real photographs of all kinds through six processes: what they are said to be, and what comes out.

`verdict` is what a person says of the thing in the photo, written down before the system was asked: `volume`, or `thin`
for what is flat by nature; or the reason of the refusal where there is nothing to film. Where the system says something
else, `known` says what, and docs/limits.md why: when that changes, for better or worse, the test asks for the table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from tests.e2e.artifacts import check_film, check_gltf, check_solid, run_make
from tests.e2e.conftest import System

FOLDER = Path(__file__).parents[2] / ".cache/photos"
WIDTH, HEIGHT, SECONDS = 320, 256, 1


@dataclass(frozen=True)
class Photo:
    """One photograph that `make photos-all` fetched."""

    kinds: str
    verdict: str
    known: str | None = None

    @property
    def expected(self) -> str:
        return self.known or self.verdict


PHOTOS = {
    "acanthus.jpg": Photo("plant, tall", "volume"),
    "air-balloon.png": Photo("vehicle", "volume"),
    "astronaut.png": Photo("person", "volume"),
    "books.png": Photo("product", "volume"),
    "bulb.png": Photo("product, dark, glass", "volume"),
    "car.png": Photo("vehicle, cut off by the edge", "volume"),
    "clock.png": Photo("product, low contrast, blurred", "thin", known="volume"),
    "cocktail.png": Photo("food, glass", "volume"),
    "coffee.png": Photo("food, wide", "volume"),
    "collins.png": Photo("person, clutter, with text, cut off by the edge", "volume"),
    "dog.png": Photo("animal, cut off by the edge", "volume"),
    "gamepad.png": Photo("product", "volume"),
    "pencils.png": Photo("product, clutter", "thin", known="volume"),
    "rocket.jpg": Photo("vehicle, dark, wide", "volume"),
    "soccer.png": Photo("product, with text, cut off by the edge", "volume"),
    "sunflower.png": Photo("plant", "thin", known="volume"),
    "text.png": Photo("with text, low contrast, wide; no subject", "NO_SUBJECT"),
    "tiger.jpg": Photo("animal, wide, low contrast", "volume"),
}


def test_every_kind_of_photo_is_there() -> None:
    kinds = {kind.strip() for photo in PHOTOS.values() for kind in photo.kinds.split(",")}
    assert kinds >= {
        "product", "animal", "person", "food", "vehicle", "plant",
        "low contrast", "clutter", "tall", "wide", "dark", "with text",
    }  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_becomes_what_a_person_would_say_or_a_known_limit(system: System, tmp_path: Path, name: str) -> None:
    photo = PHOTOS[name]
    done = run_make(FOLDER / name, tmp_path / "out", f"{WIDTH}x{HEIGHT}", SECONDS, "--server", system.address)
    if done.returncode != 0:
        assert photo.expected in done.stderr.split(), done.stderr
        assert not (tmp_path / "out").exists(), "no half of a result"
        return
    mesh = json.loads(done.stdout)["mesh"]
    assert mesh["verdict"] == photo.expected, mesh
    check_film(tmp_path / "out/film.mp4", WIDTH, HEIGHT, SECONDS)
    check_gltf(tmp_path / "out/mesh.glb")
    check_solid(tmp_path / "out/mesh.glb", mesh)
    still = cv2.imread(str(tmp_path / "out/still.png"), cv2.IMREAD_UNCHANGED)
    cutout = cv2.imread(str(tmp_path / "out/cutout.png"), cv2.IMREAD_UNCHANGED)
    assert still is not None
    assert still.shape == (HEIGHT, WIDTH, 3)
    assert cutout is not None
    assert cutout.shape[2] == 4
    assert 0.01 < (cutout[:, :, 3] == 255).mean() < 0.99
