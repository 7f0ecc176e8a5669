"""Files of a model hub that speaks Hugging Face's HTTP interface: what a revision holds, and one file, resumable.

``$HF_ENDPOINT`` names another hub or a mirror; ``$HF_TOKEN`` is sent to it, and not to where it redirects, for
repositories whose terms must be accepted there first. Whatever the hub says about names and sizes is a stranger's word.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from lensora.core.archives import ModelFetchFailed

IDLE_SECONDS = 30.0
"""The hub may be silent for so long."""

MAX_LISTING = 16 << 20
MAX_FILES = 2_000
MAX_FILE = 100 << 30
"""Bytes."""

_CHUNK = 1 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"(?:(?!\.)[A-Za-z0-9._+-]{1,128}/){0,8}[A-Za-z0-9_.+-]{1,128}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a revision."""

    path: str
    """Inside the repository, ``/`` between the parts; none begins with a dot but the last."""

    size: int
    """Bytes."""

    sha256: str
    """Hexadecimal; empty where the hub keeps the file in git and not in its large-file store."""

    blob: str
    """Git's SHA-1 of ``blob SIZE\\0`` and the content, hexadecimal; checked where there is no SHA-256."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of a repository."""

    commit: str
    files: tuple[RemoteFile, ...]


def endpoint() -> str:
    """Address of the hub, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def revision(repository: str, name: str) -> Revision:
    """What a revision of a repository holds.

    Args:
        repository: ``OWNER/NAME``.
        name: a commit, a branch or a tag.

    Raises:
        ModelFetchFailed: the hub does not answer, refuses, or says what cannot be.
    """
    with _open(f"/api/models/{quote(repository)}/revision/{quote(name, safe='')}?blobs=true", repository) as answer:
        text = answer.read(MAX_LISTING + 1)
    try:
        said = json.loads(text)
        files = tuple(_file(entry) for entry in said["siblings"])
        if not _COMMIT.fullmatch(said["sha"]) or not 0 < len(files) <= MAX_FILES or len(text) > MAX_LISTING:
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFetchFailed(f"{endpoint()} lists {repository} in a way that is not understood") from error
    return Revision(said["sha"], files)


def _file(entry: Any) -> RemoteFile:
    path, size, large = entry["rfilename"], entry["size"], entry.get("lfs")
    if not _PATH.fullmatch(path) or path in ("", ".", "..") or not isinstance(size, int) or not 0 <= size <= MAX_FILE:
        raise ValueError(path)
    sha256, blob = large["sha256"] if large else "", entry["blobId"]
    if not _COMMIT.fullmatch(blob) or (large and not _SHA256.fullmatch(sha256)):
        raise ValueError(path)
    return RemoteFile(path, size, sha256, blob)


def download(repository: str, commit: str, file: RemoteFile, target: Path, progress: Callable[[int], None]) -> str:
    """Bring one file to ``target``, going on where an earlier attempt broke off; the file is there only once whole.

    What has come so far is kept beside it, as ``NAME.part``.

    Args:
        repository: ``OWNER/NAME``.
        commit: of the revision that ``file`` was listed in.
        file: as listed.
        target: where it goes; its folder is made.
        progress: told the bytes that are there, from time to time.

    Returns:
        The file's SHA-256, hexadecimal.

    Raises:
        ModelFetchFailed: it broke off (the same call goes on from there), or it is not the listed file (nothing of it
            is kept).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have < file.size or not part.exists():
        _receive(repository, commit, file, part, have, progress)
    sha256 = digest(part)
    if (sha256 != file.sha256) if file.sha256 else (_git_blob(part) != file.blob):
        part.unlink()
        raise ModelFetchFailed(
            f"{repository}: {file.path} is not the file that the hub lists; it was thrown away, fetch it again"
        )
    part.replace(target)
    return sha256


def _receive(
    repository: str, commit: str, file: RemoteFile, part: Path, have: int, progress: Callable[[int], None]
) -> None:
    wanted = f"/{quote(repository)}/resolve/{commit}/{quote(file.path)}"
    with _open(wanted, repository, have) as answer:
        resumed = have > 0 and answer.status == http.client.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as sink:
            done = have if resumed else 0
            # never more than was listed, whatever comes
            while done < file.size and (chunk := answer.read(min(_CHUNK, file.size - done))):
                sink.write(chunk)
                done += len(chunk)
                progress(done)
    if done < file.size:
        raise ModelFetchFailed(
            f"{repository}: {file.path} broke off after {done:,} of {file.size:,} bytes; fetch again to go on from "
            "there"
        )


@contextlib.contextmanager
def _open(path: str, repository: str, start: int = 0) -> Iterator[http.client.HTTPResponse]:
    """One GET; whatever breaks on the way is an error that a person can act on."""
    address = endpoint() + path
    if urlsplit(address).scheme not in ("https", "http"):
        raise ModelFetchFailed(f"HF_ENDPOINT is an https:// address, not {endpoint()!r}")
    request = urllib.request.Request(address, headers={"User-Agent": "lensora-studio"})  # noqa: S310 - checked above
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token := os.environ.get("HF_TOKEN"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=IDLE_SECONDS) as answer:  # noqa: S310
            yield answer
    except urllib.error.HTTPError as error:
        raise _refusal(repository, error.code) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise ModelFetchFailed(
            f"the model hub {endpoint()} cannot be reached ({cause}); what was fetched before is kept. Fetch on a "
            "machine that reaches it and copy the folder and its lock, or name a mirror in HF_ENDPOINT"
        ) from error


def _refusal(repository: str, status: int) -> ModelFetchFailed:
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return ModelFetchFailed(
            f"{endpoint()} wants an account that has accepted the terms of {repository}: accept them there, and put "
            "its access token into HF_TOKEN"
        )
    if status == http.client.NOT_FOUND:
        return ModelFetchFailed(f"{endpoint()} has no {repository} of that revision, or a file of it is gone")
    return ModelFetchFailed(f"{endpoint()} answers with status {status} for {repository}; try again later")


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _git_blob(file: Path) -> str:
    made = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            made.update(chunk)
    return made.hexdigest()
