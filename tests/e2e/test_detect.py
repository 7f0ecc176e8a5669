"""`lensora detect` on a real photograph, with a running system and on its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import pytest

from cli.drawing import COLOURS, READABLE_SIDE
from tests.e2e.conftest import LENSORA, PHOTOS, System


def detect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(LENSORA), "detect", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_running_system_and_one_of_its_own_find_the_same(system: System, tmp_path: Path) -> None:
    photo = str(PHOTOS["air-balloon"])
    there = detect(photo, "--json", "--out", str(tmp_path / "there.png"), "--server", system.address)
    own = detect(photo, "--json", "--out", str(tmp_path / "own.png"))
    found, again = json.loads(there.stdout), json.loads(own.stdout)
    assert found["objects"] == again["objects"]
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "own.png").read_bytes()
    first, last = found["objects"][0], found["objects"][-1]
    assert (first["label"], first["category"], last["category"]) == ("hot-air balloon", "vehicle", "full_frame")
    drawn = cv2.imread(found["file"])
    assert drawn is not None
    assert drawn.shape == (READABLE_SIDE, READABLE_SIDE, 3)
    assert (drawn[:, :, ::-1] == COLOURS[0]).all(axis=2).sum() > 1000, "its frame and label"


def test_the_table_names_what_make_can_be_asked_for(system: System, tmp_path: Path) -> None:
    done = detect(str(PHOTOS["astronaut"]), "--server", system.address, "--out", str(tmp_path / "deep/objects.png"))
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
    assert "full_frame" in done.stdout
    assert (tmp_path / "deep/objects.png").is_file()


@pytest.mark.parametrize(
    ("more", "said"), [(["--max-objects", "9"], "max_objects"), (["--server", "127.0.0.1:1"], "GATEWAY_UNREACHABLE")]
)
def test_what_cannot_be_is_said_and_nothing_is_written(tmp_path: Path, more: list[str], said: str) -> None:
    done = detect(str(PHOTOS["astronaut"]), "--out", str(tmp_path / "objects.png"), *more)
    assert done.returncode == 1
    assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_picture_is_refused(system: System, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("words")
    done = detect(str(tmp_path / "photo.jpg"), "--server", system.address, "--out", str(tmp_path / "objects.png"))
    assert done.returncode == 1
    assert "IMAGE_WRONG_TYPE" in done.stdout
    assert not (tmp_path / "objects.png").exists()
