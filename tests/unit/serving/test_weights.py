"""Where a model looks for its weights and its code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lensora.core import weights as catalogue
from lensora.core.errors import FailedPrecondition, InvalidArgument
from lensora.core.models import ModelMissing
from lensora.serving.setup import Setup
from lensora.serving.weights import load, locate


def setup(**parameters: str) -> Setup:
    return Setup("matte_birefnet", "1", "cpu", {"memory_gib": "6", "weights": "birefnet"} | parameters, {})


def test_a_name_is_what_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path))
    with pytest.raises(ModelMissing, match=r"fetch them with: lensora models fetch birefnet$"):
        locate(setup())
    folder = catalogue.folder("birefnet")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    with pytest.raises(ModelMissing):  # a folder without a lock was not fetched to its end
        locate(setup())
    catalogue.lock_file("birefnet").write_text(
        '{"commits": {}, "files": {"model.safetensors": {"size": 5, "sha256": "x"}}}'
    )
    assert locate(setup()) == folder
    (folder / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(ModelMissing):
        locate(setup())


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(setup(weights=str(tmp_path))) == tmp_path
    with pytest.raises(ModelMissing, match=r"there is no folder .*/none"):
        locate(setup(weights=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("no file"), "MODEL_UNREADABLE"),
        (RuntimeError("size mismatch"), "MODEL_UNREADABLE"),
        (ModuleNotFoundError("No module named 'trellis'", name="trellis"), "MODEL_PACKAGE_MISSING"),
        (InvalidArgument("its own"), "INVALID_ARGUMENT"),
    ],
)
def test_what_a_loader_raises_becomes_one_line(tmp_path: Path, error: Exception, reason: str) -> None:
    def loader(_folder: Path, **_: Any) -> None:
        raise error

    with pytest.raises((FailedPrecondition, InvalidArgument)) as told:
        load(setup(weights=str(tmp_path)), loader)
    assert told.value.reason == reason and "\n" not in told.value.message


def test_code_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "clay.py").write_text("COLOUR = 'red'")

    def loader(_folder: Path) -> object:
        import clay  # type: ignore[import-not-found]

        return clay.COLOUR

    chosen = setup(weights=str(tmp_path), code=str(tmp_path))
    assert load(chosen, loader) == "red"
    with pytest.raises(FailedPrecondition, match="which its parameter code names"):
        load(setup(weights=str(tmp_path), code=str(tmp_path / "none")), loader)
