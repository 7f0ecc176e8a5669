"""Weights of the heavy models: where they come from, on what terms, and whether the ones here are whole.

They live on a model hub, not in a package index, and some of their makers ask for an account. A commit is pinned where
it is known; the SHA-256 of every file is recorded at the first fetch, in ``NAME.lock.json`` beside the folder, and from
then on nothing else is taken for that model: trust on first use. The lock can be copied to other machines, or kept in
version control, so that all of them take what the first one took.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lensora.core import hub, models
from lensora.core.archives import ModelFetchFailed
from lensora.core.errors import ResourceExhausted
from lensora.core.models import ModelAltered, Status, TermsNotAccepted

Progress = Callable[[str, str, int, int], None]
"""Told the weights' name, a file's path, the bytes of it that are there, and its size."""

HEADROOM = 1 << 30
"""Bytes that a fetch leaves free on the disk."""


@dataclass(frozen=True, slots=True)
class Source:
    """One repository, or some of its files."""

    repository: str
    """``OWNER/NAME`` on the hub."""

    revision: str
    """A commit; or a branch, which the lock turns into the commit of the first fetch."""

    files: tuple[str, ...]
    """Patterns as of ``fnmatch``; ``*`` matches ``/`` too."""

    into: str = ""
    """Folder within the weights' own."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one model of the model repository loads."""

    name: str
    """Of its folder, and what ``lensora models fetch`` is told."""

    model: str
    """The folder in ``model_repository``."""

    stage: str
    """The service that uses it."""

    sources: tuple[Source, ...]
    licence: str
    """SPDX identifier, or the licence's own name."""

    terms: str
    """The licence's limits and those of what the model needs beside it; to be accepted by a person before a fetch."""


_PIPELINE = ("model_index.json", "*/*.json", "*/merges.txt", "*/*.model")
_TRELLIS = "microsoft/TRELLIS-image-large"
_TRELLIS_COMMIT = "25e0d31ffbebe4b5a97464dd851910efc3002d96"
_NVDIFF = (
    "Its renderers, nvdiffrast and nvdiffrec, which its code needs to bake the texture, are NVIDIA's and for "
    "non-commercial use only: research and evaluation."
)

WEIGHTS: Mapping[str, Weights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            Weights(
                "florence-2-large",
                "detect_open_vocabulary",
                "detect",
                (Source("florence-community/Florence-2-large", "main", ("*.json", "*.txt", "model.safetensors")),),
                "MIT",
                "The weights are Microsoft's, converted by the community for transformers; MIT, no limit on use.",
            ),
            Weights(
                "birefnet",
                "matte_birefnet",
                "segment",
                (
                    Source(
                        "ZhengPeng7/BiRefNet",
                        "e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
                        ("config.json", "*.py", "model.safetensors"),
                    ),
                ),
                "MIT",
                "MIT, no limit on use. The repository brings Python code, which runs when the model is loaded.",
            ),
            Weights(
                "sdxl-turbo",
                "scene_text_to_image",
                "background",
                (
                    Source(
                        "stabilityai/sdxl-turbo",
                        "71153311d3dbb46851df1931d3ca6e939de83304",
                        (*_PIPELINE, "*/*.fp16.safetensors"),
                    ),
                ),
                "Stability AI Community Licence",
                "Free for research and non-commercial use; commercial use is bound to conditions (a registration, and "
                "a limit on yearly revenue) that stand in the licence file of the repository.",
            ),
            Weights(
                "depth-control",
                "scene_text_to_image",
                "background",
                (
                    Source(
                        "diffusers/controlnet-depth-sdxl-1.0-small",
                        "main",
                        ("config.json", "diffusion_pytorch_model.fp16.safetensors"),
                    ),
                ),
                "OpenRAIL++",
                "CreativeML OpenRAIL++-M: commercial use allowed, the uses listed in its attachment A are not.",
            ),
            Weights(
                "flux-schnell",
                "scene_text_to_image",
                "background",
                (
                    Source(
                        "black-forest-labs/FLUX.1-schnell",
                        "741f7c3ce8b383c54771c7003378a50191e9efe9",
                        (*_PIPELINE, "*/*.safetensors"),
                    ),
                ),
                "Apache-2.0",
                "Apache-2.0; the repository asks for an account that has accepted its acceptable-use policy.",
            ),
            Weights(
                "trellis-image-large",
                "mesh_trellis",
                "mesh3d",
                (Source(_TRELLIS, _TRELLIS_COMMIT, ("pipeline.json", "ckpts/*")),),
                "MIT",
                f"The weights and the code are MIT. {_NVDIFF}",
            ),
            Weights(
                "trellis-2-4b",
                "mesh_trellis2",
                "mesh3d",
                (
                    Source(
                        "microsoft/TRELLIS.2-4B",
                        "af44b45f2e35a493886929c6d786e563ec68364d",
                        ("pipeline.json", "ckpts/*"),
                    ),
                    Source(_TRELLIS, _TRELLIS_COMMIT, ("ckpts/ss_dec_conv3d_16l8_fp16.*",), _TRELLIS),
                    Source(
                        "facebook/dinov3-vitl16-pretrain-lvd1689m",
                        "ea8dc2863c51be0a264bab82070e3e8836b02d51",
                        ("config.json", "model.safetensors"),
                        "facebook/dinov3-vitl16-pretrain-lvd1689m",
                    ),
                ),
                "MIT",
                "The weights and the code are MIT; DINOv3, which sees the photo, is under Meta's DINOv3 licence and "
                f"asks for an account. {_NVDIFF} Its background remover (RMBG-2.0, non-commercial) is neither fetched "
                "nor used.",
            ),
            Weights(
                "stable-fast-3d",
                "mesh_stable_fast_3d",
                "mesh3d",
                (
                    Source("stabilityai/stable-fast-3d", "main", ("config.yaml", "model.safetensors")),
                    Source(
                        "facebook/dinov2-large", "main", ("config.json", "model.safetensors"), "facebook/dinov2-large"
                    ),
                ),
                "Stability AI Community Licence",
                "Free for research, for non-commercial use, and for commercial use up to a yearly revenue that stands "
                "in the licence; beyond it an enterprise licence is needed. The repository asks for an account.",
            ),
        )
    }
)
"""Every set of weights there is, by name."""


def home() -> Path:
    """The folder that holds one folder for each set of weights, and that Triton is given; it may not exist yet."""
    return models.folder() / "heavy"


def folder(name: str) -> Path:
    """Where the files of ``name`` are, once they are whole."""
    return home() / name


def lock_file(name: str) -> Path:
    """Where the commit, size and SHA-256 of each file of ``name`` stand."""
    return home() / f"{name}.lock.json"


def status(name: str) -> Status:
    """Whether all files are here with their sizes; ``verify`` reads them all."""
    lock = _read_lock(name)
    if lock is None or not folder(name).is_dir():
        return "missing"
    sizes = {path: entry["size"] for path, entry in lock["files"].items()}
    is_whole = all(_size(folder(name) / path) == size for path, size in sizes.items())
    return "present" if is_whole else "altered"


def verify(name: str) -> None:
    """Read all files of ``name``.

    Raises:
        ModelAltered: one is not the file that the lock names.
    """
    for path, entry in (_read_lock(name) or {"files": {}})["files"].items():
        file = folder(name) / path
        if _size(file) != entry["size"] or hub.digest(file) != entry["sha256"]:
            raise ModelAltered(f"{file} is not what was fetched; replace it with: {models.REMEDY} {name}")


def fetch(name: str, progress: Progress, *, accepted: Collection[str] = ()) -> None:
    """Bring the weights into ``folder(name)``; what is there and whole is left alone.

    The folder appears only once every file is whole. An interrupted fetch leaves what has come so far in a hidden
    folder beside it, and the next one goes on from there.

    Raises:
        TermsNotAccepted: ``name`` is not among ``accepted``.
        ResourceExhausted: the disk has too little room.
        ModelFetchFailed: the hub does not give the files, or not those of the lock.
    """
    weights = WEIGHTS[name]
    if status(name) == "present":
        try:
            verify(name)
        except ModelAltered:
            pass  # fetched again below
        else:
            return
    if name not in accepted:
        raise TermsNotAccepted(f"{name} is fetched only once its terms are accepted: {weights.terms}")
    lock = _read_lock(name)
    wanted, commits = _listing(weights, lock)
    scratch = home() / f".{name}.fetching"
    _require_room(scratch, (file for _, file, _ in wanted))
    taken: dict[str, dict[str, Any]] = {}
    for source, file, path in wanted:
        taken[path] = _take(name, source, commits[source.repository], file, scratch / path, progress)
        if lock is not None and taken[path]["sha256"] != lock["files"][path]["sha256"]:
            (scratch / path).unlink()
            raise ModelFetchFailed(f"{name}: {path} is another file than the one that {lock_file(name)} names")
    _install(name, scratch, {"name": name, "commits": commits, "files": taken})


def _listing(
    weights: Weights, lock: dict[str, Any] | None
) -> tuple[list[tuple[Source, hub.RemoteFile, str]], dict[str, str]]:
    """What to download, each with its path in the folder; and the commits it is of."""
    wanted, commits = [], {}
    for source in weights.sources:
        name = lock["commits"].get(source.repository, source.revision) if lock else source.revision
        found = hub.revision(source.repository, name)
        commits[source.repository] = found.commit
        for pattern in source.files:
            matching = [file for file in found.files if fnmatch.fnmatchcase(file.path, pattern)]
            wanted += [(source, file, f"{source.into}/{file.path}".lstrip("/")) for file in matching]
        if not any(each is source for each, _, _ in wanted):
            raise ModelFetchFailed(f"{source.repository} at {found.commit} holds none of {', '.join(source.files)}")
    unique = {path: (source, file, path) for source, file, path in wanted}
    if lock is not None and set(unique) != set(lock["files"]):
        raise ModelFetchFailed(
            f"{weights.name}: the hub has other files than {lock_file(weights.name)} names; remove that file to start "
            "anew"
        )
    return list(unique.values()), commits


def _take(
    name: str, source: Source, commit: str, file: hub.RemoteFile, target: Path, progress: Progress
) -> dict[str, Any]:
    """Download one file, unless an earlier attempt brought it whole; what the lock says of it."""
    if _size(target) == file.size and file.sha256 and hub.digest(target) == file.sha256:
        sha256 = file.sha256
    else:
        sha256 = hub.download(
            source.repository, commit, file, target, lambda done: progress(name, file.path, done, file.size)
        )
    progress(name, file.path, file.size, file.size)
    return {"size": file.size, "sha256": sha256}


def _require_room(scratch: Path, files: Iterable[hub.RemoteFile]) -> None:
    have = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file())
    needed = sum(file.size for file in files) - have + HEADROOM
    place = next(each for each in (scratch, *scratch.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ResourceExhausted(
            f"{place} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; make room, or choose another "
            "folder with LENSORA_MODELS",
            reason="DISK_FULL",
        )


def _install(name: str, scratch: Path, lock: dict[str, Any]) -> None:
    """Put the whole folder in its place, and the lock beside it."""
    written = scratch.with_name(f".{name}.lock.json")
    written.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")
    if folder(name).exists():
        shutil.rmtree(folder(name))
    scratch.replace(folder(name))
    written.replace(lock_file(name))


def _read_lock(name: str) -> dict[str, Any] | None:
    file = lock_file(name)
    if not file.is_file():
        return None
    try:
        lock: dict[str, Any] = json.loads(file.read_text())
        if not all(isinstance(entry["size"], int) and entry["sha256"] for entry in lock["files"].values()):
            raise ValueError
        lock["commits"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelAltered(f"{file} cannot be read; remove it to fetch {name} anew") from error
    return lock


def _size(file: Path) -> int:
    """Bytes, or -1 where there is no such file."""
    return file.stat().st_size if file.is_file() else -1
