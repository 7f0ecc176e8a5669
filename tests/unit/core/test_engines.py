"""The loader finds engines by their file's name, and says which there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensora.core import engines
from lensora.core.engines import EngineNotFound


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "loader_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_helper.py").write_text("")
    (folder / "poison.py").write_text("raise AssertionError('imported without need')\n")
    (folder / "plain.py").write_text(
        "class Plain:\n"
        "    name, version = 'plain', '7'\n"
        "    def __init__(self, settings): self.settings = settings\n"
        "create = Plain\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "loader_package"
    for name in [name for name in sys.modules if name.startswith("loader_package")]:
        del sys.modules[name]


def test_engines_are_listed_without_importing_them(package: str) -> None:
    assert engines.available(package) == ["plain", "poison"]


def test_an_engine_is_created_with_the_settings(package: str) -> None:
    settings = object()
    engine = engines.load(package, "plain", settings)
    assert engine.settings is settings  # type: ignore[attr-defined]
    assert engines.fingerprint("detect", engine) == "detect/plain@7"


@pytest.mark.parametrize("name", ["nonsense", "", "_helper", "plain.py", "../plain", "os"])
def test_an_unknown_engine_lists_those_there_are(package: str, name: str) -> None:
    with pytest.raises(EngineNotFound, match="there are: plain, poison"):
        engines.load(package, name, None)


@pytest.mark.parametrize("service", ["detect", "segment", "background", "mesh3d", "render"])
def test_every_service_has_its_embedded_engine(service: str) -> None:
    assert "embedded" in engines.available(f"services.{service}.engines")
