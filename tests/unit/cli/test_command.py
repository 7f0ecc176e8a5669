"""The command as a person meets it when something is wrong; its good days are in tests/e2e."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from lensora.core.imaging import encode_png
from lensora.core.models import MODELS
from lensora.core.weights import WEIGHTS

LENSORA = Path(sys.executable).with_name("lensora")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(np.full((64, 64, 3), 200, np.uint8)))
    return path


def lensora(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    before = {process.pid for process in psutil.process_iter()}
    done = subprocess.run(
        [str(LENSORA), *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "COLUMNS": "300", **environment},
    )  # fmt: skip
    left = [process for process in psutil.process_iter(["cmdline"]) if process.pid not in before]
    ours = [process for process in left if "services." in " ".join(process.info["cmdline"] or ())]
    assert [process for process in ours if process.status() != psutil.STATUS_ZOMBIE] == []
    return done


@pytest.mark.parametrize(
    ("arguments", "reason", "words"),
    [
        (["--size", "1280"], "INVALID_ARGUMENT", "WIDTHxHEIGHT"),
        (["--size", "481x270"], "INVALID_ARGUMENT", "width: must be even"),
        (["--size", "4000x270"], "INVALID_ARGUMENT", "width"),
        (["--duration", "nan"], "INVALID_ARGUMENT", "duration_s"),
        (["--duration", "13"], "INVALID_ARGUMENT", "duration_s"),
        (["--camera", "spiral"], "INVALID_ARGUMENT", "turntable, dolly or cinematic"),
        (["--background", "x" * 1001], "INVALID_ARGUMENT", "prompt"),
        (["--background", "a\ttable"], "INVALID_ARGUMENT", "no control characters"),
        (["--server", "127.0.0.1:1"], "GATEWAY_UNREACHABLE", "no gateway answers at 127.0.0.1:1"),
    ],
)
def test_a_bad_order_is_refused_before_anything_starts(
    photo: Path, arguments: list[str], reason: str, words: str
) -> None:
    done = lensora("make", str(photo), *arguments)
    assert done.returncode == 1
    assert done.stdout.startswith(reason)
    assert words in done.stdout


def test_no_photo_is_a_matter_of_usage(tmp_path: Path) -> None:
    assert lensora("make", str(tmp_path / "none.jpg")).returncode == 2


def test_missing_models_name_the_command_that_mends_it(photo: Path, tmp_path: Path) -> None:
    done = lensora("make", str(photo), LENSORA_MODELS=str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert done.stdout.startswith("MODEL_MISSING")
    assert "lensora models fetch" in done.stdout


def test_an_unknown_engine_fails_at_the_start_and_lists_those_there_are(tmp_path: Path) -> None:
    done = lensora("up", "--listen", "127.0.0.1:0", "--home", str(tmp_path), MESH3D_ENGINE="nonsense")
    assert done.returncode == 1
    assert "ENGINE_NOT_FOUND" in done.stdout
    assert "there are: embedded" in done.stdout


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lensora("up", "--listen", f"127.0.0.1:{port}", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "ADDRESS_IN_USE" in done.stdout


def test_a_photo_without_a_subject_is_a_typed_error(photo: Path, tmp_path: Path) -> None:
    done = lensora("make", str(photo), "--size", "256x256", "--duration", "1", "--json", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stdout == "", "JSON alone goes to stdout"
    assert "NO_SUBJECT" in done.stderr
    assert "removing-bg failed" in done.stderr or "cropping failed" in done.stderr
    assert not (tmp_path / "out").exists()


def test_models_list_shows_all_there_is_to_know() -> None:
    done = lensora("models", "list")
    assert done.returncode == 0
    for model in MODELS.values():
        assert all(word in done.stdout for word in (model.name, model.licence, model.sha256, *model.stages))
    missing = lensora("models", "list", LENSORA_MODELS=os.devnull + "/no")
    assert missing.stdout.count("missing") == len(MODELS) + len(WEIGHTS)


def test_models_fetch_refuses_a_name_that_is_none() -> None:
    done = lensora("models", "fetch", "nonsense")
    assert done.returncode == 1
    assert "MODEL_UNKNOWN" in done.stdout
    assert all(name in done.stdout for name in MODELS)


def test_help_says_what_it_is_for() -> None:
    done = lensora("make", "--help")
    assert done.returncode == 0
    for option in ("--background", "--camera", "--object", "--size", "--duration", "--seed", "--out", "--json"):
        assert option in done.stdout
