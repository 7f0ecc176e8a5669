"""Bytes by address: the narrow access to the blob store that services get.

The gateway owns the store (``gateway.blobs``). A service owns nothing: each call hands it URLs to read and URLs to
write, and it refuses any outside its prefix.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lensora.core import remote
from lensora.core.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable

INLINE_LIMIT = 256 * 1024
"""Blobs up to this many bytes travel inside messages."""

READ_LIMIT = 256 * 1024 * 1024
"""No service reads a larger blob."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""With less room than this for the blobs, the next film or mesh may not fit."""


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
        prefix: ``file:///absolute/folder/``: the folder is the border, symbolic links do not lead out of it. Or
            ``https://host/bucket/``, ending in ``/``: URLs that begin so are signed by the gateway, and good for one
            read or write each. (``http:`` works too, for stores on the same machine.)
    """

    prefix: str

    def __post_init__(self) -> None:
        known = remote.is_remote(self.prefix) or self.prefix.startswith("file://")
        if not known or not self.prefix.endswith("/"):
            raise ValueError(f"a blob prefix is a file: or https: URL that ends in /, not {self.prefix!r}")

    def read(self, url: str, sha256: str, size: int, field: str) -> bytes:
        """The bytes at ``url``, checked against what the caller said they are.

        Raises:
            InvalidArgument: outside the prefix, longer than ``READ_LIMIT``, or other bytes than announced.
            FailedPrecondition: reason ``BLOB_MISSING``.
            Unavailable: reason ``BLOB_STORE_DOWN``.
        """
        if not 0 <= size <= READ_LIMIT:
            raise InvalidArgument.of(f"{field}.size", f"0 to {READ_LIMIT} bytes, not {size}")
        if remote.is_remote(self.prefix):
            data = remote.get(self.prefix, url, size, field)
        else:
            data = self._read_file(url, size, field)
        if len(data) != size or sha256_hex(data) != sha256:
            raise InvalidArgument.of(
                field, "the bytes at its URL differ from its size and sha256", reason="BLOB_DIGEST"
            )
        return data

    def write(self, url: str, data: bytes, field: str) -> None:
        """Write ``data`` to ``url``, whole or not at all.

        Raises:
            InvalidArgument: outside the prefix.
            ResourceExhausted: reason ``BLOB_WRITE``: the disk is full or gone, or the store refuses.
            Unavailable: reason ``BLOB_STORE_DOWN``.
        """
        if remote.is_remote(self.prefix):
            remote.put(self.prefix, url, data, field)
        else:
            _write_atomically(self._path(url, field), data)

    def _read_file(self, url: str, size: int, field: str) -> bytes:
        try:
            with self._path(url, field).open("rb") as file:
                return file.read(size + 1)
        except OSError as error:
            raise FailedPrecondition(f"{field}: cannot be read: {error.strerror}", reason="BLOB_MISSING") from error

    def create(self) -> None:
        """Make the folder, for who starts alone; one that cannot be made is for ``check`` to tell."""
        if remote.is_remote(self.prefix):
            return
        with contextlib.suppress(OSError):
            self._root().mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Try whether the folder is there and takes a result; of a store over HTTP the gateway knows, not we.

        Raises:
            Unavailable: reason ``BLOB_FOLDER``: it is gone, or takes no file.
            ResourceExhausted: reason ``BLOB_WRITE``: less than ``MIN_FREE_BYTES`` are free.
        """
        if remote.is_remote(self.prefix):
            return
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
