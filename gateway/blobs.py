"""The gateway's blobs: ``<account>/<first two>/<sha256>``, content-addressed within an account, and a staging area.

On a folder or on S3, both through obstore; services get ``file:`` addresses or signed ones (``lensora.core.blobs``).
What a service wrote lies in the staging area until the gateway has read it again. Nothing comes under a final key but
bytes that have been hashed there, and there it is put once; so whoever holds a signed address can change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import io
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Literal, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from lensora.core.blobs import BlobAccess, file_url, sha256_hex
from lensora.core.errors import Internal, LensoraError, NotFound, ResourceExhausted, Unavailable

_log = structlog.get_logger()

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_STAGING = ".staging"
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"([a-z0-9][a-z0-9-]{0,62})/[0-9a-f]{2}/([0-9a-f]{64})")
_TARGET = re.compile(r"/\.staging/([0-9a-f]{32})/blob$")

_READ_BYTES = 1024 * 1024
_THREADS = 16
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def open_store(url: str, folder: Path, url_seconds: float) -> BlobStore:
    """The store at ``url``.

    Args:
        url: ``s3://bucket/prefix``, with endpoint, region and credentials from the usual ``AWS_*`` environment; or
            empty, for ``folder``.
        folder: used, and made, where ``url`` is empty.
        url_seconds: how long a signed address is good for.
    """
    if not url:
        folder.mkdir(parents=True, exist_ok=True)
        return BlobStore(LocalStore(folder), folder.resolve(), url_seconds)
    parts = urlsplit(url)
    plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    store = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={"timeout": "30s", "connect_timeout": "3s", "allow_http": plain},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
    )
    return BlobStore(store, None, url_seconds)


class BlobStore:
    """Bytes by account and digest. Its methods block: call them through ``run``, which has threads of its own.

    All raise ``Unavailable`` (reason ``BLOB_STORE_DOWN``) where S3 does not answer, and those that write
    ``ResourceExhausted`` (reason ``BLOB_WRITE``) where the disk takes no more.

    Args:
        store: obstore's.
        folder: absolute; where it is kept, if that is on this machine.
        url_seconds: how long a signed address is good for.
    """

    def __init__(self, store: LocalStore | S3Store, folder: Path | None, url_seconds: float) -> None:
        self._store, self.folder = store, folder
        self._seconds = timedelta(seconds=url_seconds)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")

    async def run(
        self, method: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Call one of the methods, or what calls several, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, functools.partial(method, *args, **kwargs)
        )

    @property
    def prefix(self) -> str:
        """The URL prefix to configure services with."""
        return self._address("GET", "x").partition("?")[0].removesuffix("x")

    def put(self, account: str, data: bytes) -> str:
        """Store bytes under their SHA-256, which is returned; storing the same twice is harmless."""
        sha256 = sha256_hex(data)
        key = _key(account, sha256)
        with self._telling():
            if self.folder is None:
                with contextlib.suppress(AlreadyExistsError):
                    obstore.put(self._store, key, data, mode="create", use_multipart=False)
            elif not (self.folder / key).is_file():
                target = self.new_target()
                try:
                    self.stage(target, data)
                    obstore.rename(self._store, _staged(target), key)
                finally:
                    self.discard(target)
        return sha256

    def url(self, account: str, sha256: str) -> str:
        """Where a service reads this blob."""
        with self._telling():
            return self._address("GET", _key(account, sha256))

    def exists(self, account: str, sha256: str) -> bool:
        """Whether the blob is there."""
        try:
            with self._telling():
                obstore.head(self._store, _key(account, sha256))
        except FileNotFoundError:
            return False
        return True

    def open(self, account: str, sha256: str) -> BinaryIO:
        """Open for reading.

        Raises:
            NotFound: reason ``BLOB_GONE``.
        """
        key = _key(account, sha256)
        try:
            if self.folder is not None:
                return (self.folder / key).open("rb")
            with self._telling():
                size = obstore.head(self._store, key)["size"]
        except OSError as error:  # there is none, or the folder is no folder any more
            raise NotFound("the stored bytes are gone", reason="BLOB_GONE") from error
        return io.BufferedReader(_Ranges(self, key, size), _READ_BYTES)

    def new_target(self) -> str:
        """A fresh URL in the staging area for a service to write one result to; ``discard`` it in the end.

        In a folder it has a folder of its own: who writes after the discard meets none, and leaves nothing behind.
        What is written to S3 so late is for ``sweep_staging``.
        """
        key = f"{_STAGING}/{secrets.token_hex(16)}/blob"
        with self._telling():
            if self.folder is not None:
                (self.folder / key).parent.mkdir(parents=True)
            return self._address("PUT", key)

    def stage(self, target: str, data: bytes) -> str:
        """Put bytes into the staging area, for a service to read once at the URL that is returned."""
        with self._telling():
            obstore.put(self._store, _staged(target), data, use_multipart=False)
            return self._address("GET", _staged(target))

    def publish(self, account: str, target: str, sha256: str, size: int) -> None:
        """Move what a service wrote into the account, after checking that it is what the service said.

        Raises:
            Internal: reason ``BLOB_DIGEST``: the service wrote other bytes, or none.
        """
        key, staged = _key(account, sha256), _staged(target)
        sealed = f"{staged}-sealed"
        with self._telling():
            try:
                obstore.rename(self._store, staged, sealed)  # out of the reach of who may still write to the target
            except FileNotFoundError as error:
                message = "a stage announced a result that it did not write"
                raise Internal(message, reason="BLOB_DIGEST") from error
            if self._measured(sealed, size) != (sha256, size):
                obstore.delete(self._store, sealed)
                raise Internal("a stage wrote other bytes than it announced", reason="BLOB_DIGEST")
            obstore.rename(self._store, sealed, key)

    def discard(self, target: str) -> None:
        """Remove what may have been written to a target that is no longer wanted; what cannot be is swept later."""
        staged = _staged(target)
        if self.folder is not None:
            for _ in range(3):  # a writer may come between two steps of the first
                shutil.rmtree((self.folder / staged).parent, ignore_errors=True)
            return
        with contextlib.suppress(BaseError):
            obstore.delete(self._store, [staged, f"{staged}-sealed"])

    def listed(self) -> Iterator[tuple[str, list[str]]]:
        """All blobs, a bounded number at a time: an account, and the digests of some of its blobs."""
        with self._telling():
            for metas in obstore.list(self._store, chunk_size=1000):
                found: dict[str, list[str]] = {}
                for meta in metas:
                    if match := _BLOB.fullmatch(meta["path"]):
                        found.setdefault(match[1], []).append(match[2])
                yield from found.items()

    def remove(self, account: str, digests: Iterable[str]) -> None:
        """Remove blobs; those that are not there are no error."""
        keys = [_key(account, sha256) for sha256 in digests]
        with self._telling():
            if self.folder is None:
                obstore.delete(self._store, keys)
            else:
                for key in keys:
                    (self.folder / key).unlink(missing_ok=True)

    def sweep_staging(self, seconds: float) -> None:
        """Remove from the staging area what is so old that nobody waits for it, whichever replica it was for."""
        before = datetime.now(UTC) - timedelta(seconds=seconds)
        with self._telling():
            if self.folder is None:
                metas = [meta for some in obstore.list(self._store, f"{_STAGING}/") for meta in some]
                if old := [meta["path"] for meta in metas if meta["last_modified"] < before]:
                    obstore.delete(self._store, old)
                return
            with contextlib.suppress(FileNotFoundError):  # nothing was ever staged; or another sweeps, too
                for folder in (self.folder / _STAGING).iterdir():
                    if folder.stat().st_mtime < before.timestamp():
                        shutil.rmtree(folder, ignore_errors=True)

    async def check(self) -> None:
        """Write a byte and look for it, for readiness.

        Raises:
            Unavailable: reason ``BLOB_STORE_DOWN``, or ``BLOB_FOLDER``: the folder is gone, or takes no file.
            ResourceExhausted: reason ``BLOB_WRITE``: the disk is full, or nearly so.
        """
        await self.run(self._check)

    def _check(self) -> None:
        if self.folder is not None:
            BlobAccess(self.prefix).check()
        target = self.new_target()
        try:
            self.stage(target, b"?")
            with self._telling():
                obstore.head(self._store, _staged(target))
        finally:
            self.discard(target)

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        """Some bytes of one object."""
        try:
            with self._telling():
                return memoryview(obstore.get_range(self._store, key, start=start, length=length))
        except FileNotFoundError as error:
            raise NotFound("the stored bytes are gone", reason="BLOB_GONE") from error

    def _measured(self, key: str, limit: int) -> tuple[str, int]:
        """Digest and size of an object; no more than ``limit`` is read of one that is longer."""
        found = obstore.get(self._store, key)
        digest, size = hashlib.sha256(), int(found.meta["size"])
        if size <= limit:
            for chunk in found.stream(min_chunk_size=_READ_BYTES):
                digest.update(chunk)
        return digest.hexdigest(), size

    def _address(self, method: Literal["GET", "PUT"], key: str) -> str:
        if self.folder is not None:
            return file_url(self.folder / key)
        return obstore.sign(cast(S3Store, self._store), method, key, self._seconds)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the store refuses into an error that callers may see; that something is not there passes."""
        try:
            yield
        except (LensoraError, FileNotFoundError):
            raise
        except (BaseError, OSError) as error:
            why = str(error).partition("\n")[0]
            _log.warning("blob store", error=why)
            if self.folder is None:
                raise Unavailable("the blob store does not answer", reason="BLOB_STORE_DOWN") from error
            raise ResourceExhausted(f"the blob store took no more bytes: {why}", reason="BLOB_WRITE") from error


class _Ranges(io.RawIOBase):
    """An object as a file, read in ranges."""

    def __init__(self, store: BlobStore, key: str, size: int) -> None:
        self._blobs, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere; as in a file, that may be behind the end."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Where we are."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill as much of ``buffer`` as there is."""
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._blobs.read_range(self._key, self._at, length)
        self._at += length
        return length


def _key(account: str, sha256: str) -> str:
    if not _ACCOUNT.fullmatch(account) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a blob key: {account!r}, {sha256!r}")
    return f"{account}/{sha256[:2]}/{sha256}"


def _staged(target: str) -> str:
    match = _TARGET.search(urlsplit(target).path)
    if match is None:
        raise ValueError("not a target of this store")
    return f"{_STAGING}/{match[1]}/blob"
