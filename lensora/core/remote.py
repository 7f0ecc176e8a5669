"""Bytes behind signed web addresses: one GET or one PUT, within bounds, to where the prefix says and nowhere else.

The address carries all the authority there is: no credentials are sent, no redirect is followed, no proxy asked.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from lensora.core.errors import FailedPrecondition, InvalidArgument, LensoraError, ResourceExhausted, Unavailable

IDLE_SECONDS = 10.0
"""The store may be silent for so long."""

MAX_SECONDS = 120.0
"""One read or write may take so long in all."""

_CHUNK_BYTES = 1024 * 1024
_MAX_URL = 8192

_KEY = re.compile(r"(?:\.?[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+(?:\?[!-~]*)?")
"""Our own keys, and the signature: no dots to climb with, nothing percent-encoded in the path, no fragment."""


def is_remote(prefix: str) -> bool:
    """Whether blobs below this prefix are read and written over HTTP."""
    return prefix.startswith(("https://", "http://"))


def get(prefix: str, url: str, size: int, field: str) -> bytes:
    """What is at ``url``, and at most one byte more than ``size``.

    Raises:
        InvalidArgument: reason ``BLOB_PREFIX``.
        FailedPrecondition: reason ``BLOB_MISSING``: the store refuses it; it is gone, or the signature has run out.
        Unavailable: reason ``BLOB_STORE_DOWN``.
    """
    deadline = time.monotonic() + MAX_SECONDS
    with _exchange(prefix, url, field, "GET", None) as response:
        if response.status != http.client.OK:
            raise _refusal(field, "read", response, FailedPrecondition, "BLOB_MISSING")
        data = bytearray()
        while len(data) <= size:
            chunk = response.read(min(_CHUNK_BYTES, size + 1 - len(data)))
            if not chunk:
                break
            data += chunk
            if time.monotonic() > deadline:
                raise _down("reads too slowly")
        return bytes(data)


def put(prefix: str, url: str, data: bytes, field: str) -> None:
    """Write ``data`` to ``url``; the store shows all of it or none.

    Raises:
        InvalidArgument: reason ``BLOB_PREFIX``.
        ResourceExhausted: reason ``BLOB_WRITE``: the store refuses it.
        Unavailable: reason ``BLOB_STORE_DOWN``.
    """
    with _exchange(prefix, url, field, "PUT", data) as response:
        response.read(_CHUNK_BYTES)
        if response.status not in (http.client.OK, http.client.CREATED, http.client.NO_CONTENT):
            raise _refusal(field, "written", response, ResourceExhausted, "BLOB_WRITE")


@contextlib.contextmanager
def _exchange(prefix: str, url: str, field: str, method: str, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
    """One request; whatever breaks on the way is an error that callers may see."""
    if len(url) > _MAX_URL or not url.startswith(prefix) or not _KEY.fullmatch(url[len(prefix) :]):
        raise InvalidArgument.of(f"{field}.url", "lies outside the blob prefix of this service", reason="BLOB_PREFIX")
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=IDLE_SECONDS, blocksize=_CHUNK_BYTES)
    headers = {"User-Agent": "lensora-studio"}
    if body is not None:
        headers |= {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
    try:
        # as a file, it goes out block by block, each within its own time
        connection.request(method, target, None if body is None else io.BytesIO(body), headers)
        with connection.getresponse() as response:  # which outlives its connection where the store ends that itself
            yield response
    except (OSError, http.client.HTTPException) as error:
        raise _down("does not answer") from error
    finally:
        connection.close()


def _refusal(
    field: str, done: str, response: http.client.HTTPResponse, kind: type[LensoraError], reason: str
) -> LensoraError:
    """What a status other than success means; a redirect is none of ours."""
    if response.status >= 500 or response.status == http.client.TOO_MANY_REQUESTS:
        return _down(f"answers with status {response.status}")
    return kind(f"{field}: cannot be {done}: the blob store answers with status {response.status}", reason=reason)


def _down(what: str) -> Unavailable:
    return Unavailable(f"the blob store {what}", reason="BLOB_STORE_DOWN")
