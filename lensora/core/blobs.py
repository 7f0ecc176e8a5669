"""Bytes by address: the folder store of the gateway, and the narrow access that services get.

The gateway owns the store: ``<root>/<account>/<first two>/<sha256>``, content-addressed within an account, plus a
staging area. A service owns nothing: each call hands it URLs to read and URLs to write, and it refuses any outside
its prefix.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from lensora.core.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)

INLINE_LIMIT = 256 * 1024
"""Blobs up to this many bytes travel inside messages."""

READ_LIMIT = 256 * 1024 * 1024
"""No service reads a larger blob."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""With less room than this for the blobs, the next film or mesh may not fit."""

_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_hex(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def file_url(path: Path) -> str:
    """``file:`` URL of an absolute path."""
    return "file://" + quote(str(path))


def _full(folder: Path) -> ResourceExhausted:
    need = f"less than {MIN_FREE_BYTES >> 20} MiB are free"
    return ResourceExhausted(f"the disk of the blob folder {folder} is full: {need}; make room", reason="BLOB_WRITE")


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Turn what the disk refuses into an error that callers may see."""
    try:
        yield
    except OSError as error:
        raise ResourceExhausted(f"the blob store took no more bytes: {error.strerror}", reason="BLOB_WRITE") from error


def _write_atomically(path: Path, data: bytes) -> None:
    """Write so that a reader sees all of the file or none of it."""
    part = path.with_name(f".{secrets.token_hex(16)}.part")
    with _writing():
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


@dataclass(frozen=True, slots=True)
class BlobAccess:
    """What a service may do with blobs: read and write below one URL prefix.

    Attributes:
        prefix: ``file:///absolute/folder/``; the folder is the border, symbolic links do not lead out of it.
    """

    prefix: str

    def read(self, url: str, sha256: str, size: int, field: str) -> bytes:
        """The bytes at ``url``, checked against what the caller said they are.

        Raises:
            InvalidArgument: outside the prefix, longer than ``READ_LIMIT``, or other bytes than announced.
            FailedPrecondition: reason ``BLOB_MISSING``.
        """
        if not 0 <= size <= READ_LIMIT:
            raise InvalidArgument.of(f"{field}.size", f"0 to {READ_LIMIT} bytes, not {size}")
        path = self._path(url, field)
        try:
            with path.open("rb") as file:
                data = file.read(size + 1)
        except OSError as error:
            raise FailedPrecondition(f"{field}: cannot be read: {error.strerror}", reason="BLOB_MISSING") from error
        if len(data) != size or sha256_hex(data) != sha256:
            raise InvalidArgument.of(
                field, "the bytes at its URL differ from its size and sha256", reason="BLOB_DIGEST"
            )
        return data

    def write(self, url: str, data: bytes, field: str) -> None:
        """Write ``data`` to ``url``, whole or not at all.

        Raises:
            InvalidArgument: outside the prefix.
            ResourceExhausted: reason ``BLOB_WRITE``: the disk is full or gone.
        """
        _write_atomically(self._path(url, field), data)

    def create(self) -> None:
        """Make the folder, for who starts alone; one that cannot be made is for ``check`` to tell."""
        with contextlib.suppress(OSError):
            self._root().mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Try whether the folder is there and takes a result.

        Raises:
            Unavailable: reason ``BLOB_FOLDER``: it is gone, or takes no file.
            ResourceExhausted: reason ``BLOB_WRITE``: less than ``MIN_FREE_BYTES`` are free.
        """
        root = self._root()
        try:
            with tempfile.TemporaryFile(dir=root) as probe:
                probe.write(bytes(4096))
                probe.flush()
            room = os.statvfs(root)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(root) from error
            message = f"the blob folder {root} cannot be used: {error.strerror}; bring it back, or make it writable"
            raise Unavailable(message, reason="BLOB_FOLDER") from error
        if room.f_bavail * room.f_frsize < MIN_FREE_BYTES:
            raise _full(root)

    def _root(self) -> Path:
        return Path(unquote(urlsplit(self.prefix).path)).resolve()

    def _path(self, url: str, field: str) -> Path:
        root = self._root()
        try:
            parts = urlsplit(url)
            path = Path(unquote(parts.path)).resolve()
        except (ValueError, RuntimeError) as error:  # no URL, a null byte; links in a circle
            raise InvalidArgument.of(f"{field}.url", "is no file URL", reason="BLOB_PREFIX") from error
        if parts.scheme != "file" or parts.netloc or not path.is_relative_to(root) or path == root:
            raise InvalidArgument.of(
                f"{field}.url", "lies outside the blob prefix of this service", reason="BLOB_PREFIX"
            )
        return path


@dataclass(frozen=True, slots=True)
class FolderStore:
    """The gateway's store on one machine."""

    root: Path

    @property
    def prefix(self) -> str:
        """The URL prefix to configure services with."""
        return file_url(self.root.resolve()) + "/"

    def put(self, account: str, data: bytes) -> str:
        """Store bytes under their SHA-256, which is returned; storing the same twice is harmless."""
        sha256 = sha256_hex(data)
        path = self._path(account, sha256)
        with _writing():
            if path.exists():
                return sha256
            path.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, data)
        return sha256

    def url(self, account: str, sha256: str) -> str:
        """Where a service reads this blob."""
        return file_url(self._path(account, sha256).resolve())

    def exists(self, account: str, sha256: str) -> bool:
        """Whether the blob is there."""
        return self._path(account, sha256).is_file()

    def open(self, account: str, sha256: str) -> BinaryIO:
        """Open for reading.

        Raises:
            NotFound: reason ``BLOB_GONE``.
        """
        try:
            return self._path(account, sha256).open("rb")
        except OSError as error:  # there is none, or the folder is no folder any more
            raise NotFound(f"the stored bytes are gone: {error.strerror}", reason="BLOB_GONE") from error

    def sweep(self) -> None:
        """Remove what an earlier process left in the staging area; nobody may be writing to it."""
        shutil.rmtree(self.root / ".staging", ignore_errors=True)

    def new_target(self) -> str:
        """A fresh URL in the staging area for a service to write one result to; ``discard`` it in the end.

        It has a folder of its own: who writes after the discard meets no folder, and leaves nothing behind.
        """
        folder = self.root / ".staging" / secrets.token_hex(16)
        with _writing():
            folder.mkdir(parents=True)
        return file_url(folder.resolve() / "blob")

    def stage(self, target: str, data: bytes) -> None:
        """Put bytes into the staging area, for a service to read once."""
        _write_atomically(Path(unquote(urlsplit(target).path)), data)

    def publish(self, account: str, target: str, sha256: str, size: int) -> None:
        """Move what a service wrote into the account, after checking that it is what the service said.

        Raises:
            Internal: reason ``BLOB_DIGEST``: the service wrote other bytes, or none.
        """
        staged = Path(unquote(urlsplit(target).path))
        try:
            with staged.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                written = os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise Internal("a stage announced a result that it did not write", reason="BLOB_DIGEST") from error
        if digest != sha256 or written != size:
            staged.unlink()
            raise Internal("a stage wrote other bytes than it announced", reason="BLOB_DIGEST")
        path = self._path(account, sha256)
        with _writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(path)

    def discard(self, target: str) -> None:
        """Remove what may have been written to a target that is no longer wanted."""
        folder = Path(unquote(urlsplit(target).path)).parent
        for _ in range(3):  # a writer may come between two steps of the first
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, account: str, sha256: str) -> Path:
        if not _ACCOUNT.fullmatch(account) or not _SHA256.fullmatch(sha256):
            raise ValueError(f"not a blob key: {account!r}, {sha256!r}")
        return self.root / account / sha256[:2] / sha256
