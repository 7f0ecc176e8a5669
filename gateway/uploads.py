"""A photo as it comes in: counted, hashed and put on disk chunk by chunk, so that many at once take little memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from gateway.settings import Settings
from lensora.core.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from lensora.core.imaging import MAX_FILE_BYTES

Value = TypeVar("Value")

_WRITE_BYTES = 256 * 1024
_disk = ThreadPoolExecutor(2, "uploads")
"""Few threads of their own: each of the loop's many would keep memory of the largest photo that it ever held."""


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    """Turn what the disk refuses into an error that callers may see."""
    try:
        yield
    except OSError as error:
        message = f"the upload cannot be stored: {error.strerror}; nothing was charged"
        raise ResourceExhausted(message, reason="BLOB_WRITE") from error


class Upload:
    """One upload. Its file has no name, so that nothing is left of it, whatever happens.

    Attributes:
        account: whose it is.
        key: idempotency key, or empty.
        size: bytes so far.
    """

    def __init__(self, settings: Settings, account: str, key: str) -> None:
        self.account, self.key, self.size = account, key, 0
        self._settings = settings
        self._hash = hashlib.sha256()
        with _storing():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=settings.home)  # noqa: SIM115 - closed by `close`

    async def fill(self, chunks: AsyncIterator[bytes]) -> None:
        """Take all chunks.

        Raises:
            InvalidArgument: field ``image``, reason ``IMAGE_TOO_LARGE`` as soon as it is, or ``IMAGE_EMPTY``.
            DeadlineExceeded: reason ``UPLOAD_TIMED_OUT``: nothing came for a while, or all in all it took too long.
            ResourceExhausted: reason ``BLOB_WRITE``: the disk takes no more.
        """
        waiting = bytearray()
        try:
            async with asyncio.timeout(self._settings.upload_seconds):
                async for chunk in self._in_time(chunks):
                    self.size += len(chunk)
                    if self.size > MAX_FILE_BYTES:
                        raise InvalidArgument.of("image", f"at most {MAX_FILE_BYTES:,} bytes", reason="IMAGE_TOO_LARGE")
                    waiting += chunk
                    if len(waiting) >= _WRITE_BYTES:
                        await _run(self._write, waiting)
                        waiting = bytearray()
        except TimeoutError:
            raise DeadlineExceeded(
                f"the upload stood still for {self._settings.upload_idle_seconds:g} s, "
                f"or took longer than {self._settings.upload_seconds:g} s; nothing was charged",
                reason="UPLOAD_TIMED_OUT",
            ) from None
        if not self.size:
            raise InvalidArgument.of("image", "required: at least one byte", reason="IMAGE_EMPTY")
        await _run(self._write, waiting)

    def digest(self, options: bytes) -> str:
        """Lower-case hex SHA-256 over the bytes and the options that go with them."""
        whole = self._hash.copy()
        whole.update(options)
        return whole.hexdigest()

    async def read(self) -> bytes:
        """All of it, from the beginning."""
        return await _run(self._read)

    def close(self) -> None:
        """Let go of the file, and of what the disk may not have taken of it."""
        with contextlib.suppress(OSError):
            self._file.close()

    async def _in_time(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self._settings.upload_idle_seconds):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _write(self, data: bytearray) -> None:
        self._hash.update(data)
        with _storing():
            self._file.write(data)
            self._file.flush()

    def _read(self) -> bytes:
        self._file.seek(0)
        return self._file.read()


async def _run(function: Callable[..., Value], *arguments: Any) -> Value:
    return await asyncio.get_running_loop().run_in_executor(_disk, function, *arguments)


@contextlib.asynccontextmanager
async def receiving(settings: Settings, account: str, key: str) -> AsyncIterator[Upload]:
    """An upload that is gone at the end of the block."""
    upload = await _run(Upload, settings, account, key)
    try:
        yield upload
    finally:
        await _run(upload.close)
