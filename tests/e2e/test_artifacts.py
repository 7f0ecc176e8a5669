"""Two real photographs through six processes, judged by other people's tools."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.e2e.artifacts import Made, check_film, check_gltf, check_solid, run_make
from tests.e2e.conftest import PHOTOS, System

WIDTH, HEIGHT, SECONDS = 480, 270, 1


def make(photo: Path, folder: Path, *more: str) -> Made:
    done = run_make(photo, folder, f"{WIDTH}x{HEIGHT}", SECONDS, *more)
    assert done.returncode == 0, done.stderr
    return Made(photo, json.loads(done.stdout), folder)


@pytest.fixture(scope="module", params=PHOTOS)
def made(request: pytest.FixtureRequest, system: System, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp(request.param)
    return make(PHOTOS[request.param], folder, "--server", system.address)


def test_four_files_are_there(made: Made) -> None:
    files = {name: Path(path) for name, path in made.said["files"].items()}
    assert set(files) == {"film.mp4", "mesh.glb", "still.png", "cutout.png"}
    assert all(path.stat().st_size > 1000 for path in files.values())


def test_film_is_what_the_contract_says(made: Made) -> None:
    check_film(made.folder / "film.mp4", WIDTH, HEIGHT, SECONDS)


def test_turntable_turns_and_closes(made: Made) -> None:
    frames = made.frames()
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert (steps > 0.2).all(), "every frame differs from the one before"
    closing = np.abs(frames[0] - frames[-1]).mean()
    assert closing < 3 * np.median(steps), "the last frame leads back to the first"
    quarter = len(frames) // 4
    away = np.abs(frames[quarter:-quarter] - frames[0]).mean(axis=(1, 2, 3))
    assert away.min() > 1.2 * np.median(steps), "it goes all the way round: a rocking arc would pass the front halfway"
    corner = frames[:, : HEIGHT // 8, : WIDTH // 8]
    assert np.abs(corner - corner[0]).max() <= 12, "the background stands still"


@pytest.mark.parametrize(("camera", "arc"), [("dolly", 0), ("cinematic", 180)])
def test_the_other_presets_film_the_same_mesh_anew(
    system: System, made: Made, tmp_path: Path, camera: str, arc: int
) -> None:
    moved = make(made.photo, tmp_path, "--server", system.address, "--camera", camera)
    assert moved.said["camera"] == {"preset": camera, "arc_degrees": arc, "clamped": False}
    assert set(moved.said["reused"]) == {"cropping", "removing-bg", "generating-bg", "compositing", "generating-3d"}
    assert len(moved.frames()) == 24 * SECONDS
    for name in ("mesh.glb", "still.png", "cutout.png"):
        assert (tmp_path / name).read_bytes() == (made.folder / name).read_bytes()


def test_mesh_passes_the_khronos_validator(made: Made) -> None:
    check_gltf(made.folder / "mesh.glb")


def test_mesh_is_watertight_and_measured_right(made: Made) -> None:
    check_solid(made.folder / "mesh.glb", made.said["mesh"])
    assert made.said["mesh"]["verdict"] == "volume"


def test_still_has_the_films_size_and_the_subject(made: Made) -> None:
    still = cv2.imread(str(made.folder / "still.png"), cv2.IMREAD_UNCHANGED)
    assert still is not None
    assert still.shape == (HEIGHT, WIDTH, 3)
    first = made.frames()[0]
    corner = np.s_[: HEIGHT // 8, : WIDTH // 8]
    assert np.abs(still[corner][:, :, ::-1].astype(int) - first[corner]).max() <= 16, "still and film share the scene"


def test_cutout_keeps_the_photos_own_pixels(made: Made) -> None:
    cutout = cv2.imread(str(made.folder / "cutout.png"), cv2.IMREAD_UNCHANGED)
    photo = cv2.imread(str(made.photo), cv2.IMREAD_COLOR)
    assert cutout is not None
    assert photo is not None
    assert cutout.shape[2] == 4
    inner = (cutout[:, :, 3] == 255).astype(np.uint8)
    assert 0.05 < inner.mean() < 0.95
    # the crop's place in the photo: where the inner pixels match exactly
    scores = cv2.matchTemplate(photo, cutout[:, :, :3], cv2.TM_SQDIFF, mask=np.repeat(inner[:, :, None], 3, axis=2))
    y, x = np.unravel_index(int(scores.argmin()), scores.shape)
    crop = photo[y : y + cutout.shape[0], x : x + cutout.shape[1]]
    assert (crop[inner == 1] == cutout[:, :, :3][inner == 1]).all()


def test_the_same_order_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    """On six other processes, with nothing to use again."""
    again = make(made.photo, tmp_path)
    for name in made.said["files"]:
        assert (again.folder / name).read_bytes() == (made.folder / name).read_bytes(), name


def test_transparent_adds_a_film_with_alpha(system: System, made: Made, tmp_path: Path) -> None:
    clear = make(made.photo, tmp_path, "--server", system.address, "--background", "transparent")
    assert set(clear.said["files"]) == {"film.mp4", "mesh.glb", "still.png", "cutout.png", "film.webm"}
    with av.open(str(tmp_path / "film.webm")) as film:
        stream = film.streams.video[0]
        assert stream.metadata["alpha_mode"] == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        packets = list(film.demux(stream))
    pictures = [picture for packet in packets for picture in decoder.decode(packet)]
    assert len(pictures) == 24 * SECONDS
    alpha = np.stack([picture.to_ndarray(format="rgba")[..., 3] for picture in pictures])
    assert alpha.shape[1:] == (HEIGHT, WIDTH)
    assert not alpha[:, :8, :8].any(), "nothing but the subject"
    assert 0.02 < np.mean(np.greater(alpha, 250)) < 0.8
