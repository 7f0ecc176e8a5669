"""Reading what strangers send, in bounds of bytes and of time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lensora.core.errors import DeadlineExceeded, FieldViolation, InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES

_JSON_BYTES, _JSON_SECONDS = 64 * 1024, 10.0
_FIELD_BYTES = 64
_AROUND_BYTES = 16 * 1024
"""Boundaries, headers and small fields around the photo."""


async def json_object(request: Request) -> dict[str, Any]:
    """The body, which must be a JSON object (RFC 8259).

    Raises:
        InvalidArgument: field ``body``: another type, too large, or no such object.
        DeadlineExceeded: reason ``UPLOAD_TIMED_OUT``.
    """
    _require_type(request, "application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(_JSON_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _JSON_BYTES:
                    raise InvalidArgument.of("body", f"at most {_JSON_BYTES:,} bytes", reason="BODY_TOO_LARGE")
    except TimeoutError:
        message = f"the body was not there within {_JSON_SECONDS:g} s"
        raise DeadlineExceeded(message, reason="UPLOAD_TIMED_OUT") from None
    try:
        value = json.loads(body.decode(), parse_float=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidArgument.of("body", "is no JSON") from None
    if not isinstance(value, dict):
        raise InvalidArgument.of("body", "must be a JSON object")
    return value


class PhotoForm:
    """A multipart form (RFC 7578) with one file, ``image``, and perhaps a field ``max_objects``, in any order.

    The file streams through: iterate ``image()`` to its end, then ask for ``max_objects``.

    Raises:
        InvalidArgument: another type, too large by its own account, or no such form.
    """

    def __init__(self, request: Request) -> None:
        parameters = _require_type(request, "multipart/form-data")
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_FILE_BYTES + _AROUND_BYTES:
            raise InvalidArgument.of("image", f"at most {MAX_FILE_BYTES:,} bytes", reason="IMAGE_TOO_LARGE")
        self._request = request
        self._fields: dict[str, bytearray] = {}
        self._open, self._ended, self._around = "", False, 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._image: list[bytes] = []
        try:
            self._parser = MultipartParser(
                parameters.get(b"boundary", b"") or _bad_form("needs a boundary"),
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            _bad_form("has a boundary that is too long")

    async def image(self) -> AsyncIterator[bytes]:
        """The file's bytes, as they come."""
        async for chunk in self._request.stream():
            self._around += len(chunk)
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                _bad_form(f"is no multipart form: {error}")
            for piece in self._image:
                self._around -= len(piece)
                yield piece
            self._image.clear()
            if self._around > _AROUND_BYTES:
                raise InvalidArgument.of("body", "too much beside the image", reason="BODY_TOO_LARGE")
        if not self._ended:
            _bad_form("ends before the form does")
        if "image" not in self._fields:
            raise InvalidArgument.of("image", "required: a file")

    @property
    def max_objects(self) -> int | None:
        """What the field said, if it was there."""
        if "max_objects" not in self._fields:
            return None
        text = bytes(self._fields["max_objects"]).strip()
        if not text.isdigit() or len(text) > 9:
            raise InvalidArgument.of("max_objects", "a whole number from 2 to 8")
        return int(text)

    def _on_part_begin(self) -> None:
        self._open, self._disposition = "", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name not in ("image", "max_objects"):
            raise InvalidArgument.of(name or "body", "there is no such field; image and max_objects are known")
        if name in self._fields:
            raise InvalidArgument.of(name, "may be given once")
        self._open, self._fields[name] = name, bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._open:
            _bad_form("has a part without a head")
        if self._open == "image":
            self._image.append(data[start:end])
            return
        self._fields[self._open] += data[start:end]
        if len(self._fields[self._open]) > _FIELD_BYTES:
            raise InvalidArgument.of(self._open, f"at most {_FIELD_BYTES} bytes")

    def _on_end(self) -> None:
        self._ended = True


def _require_type(request: Request, wanted: str) -> dict[bytes, bytes]:
    """The parameters of the body's type, which must be this one."""
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind.decode("latin-1").lower() != wanted:
        message = f"the body must be {wanted}"
        raise InvalidArgument(
            message, reason="BODY_WRONG_TYPE", violations=(FieldViolation("Content-Type", f"must be {wanted}"),)
        )
    return parameters


def _bad_form(what: str) -> Any:
    raise InvalidArgument.of("body", what, reason="BODY_MALFORMED")


def _number(text: str) -> float:
    """JSON has one kind of number: 342.0 is as whole as 342."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> Any:
    raise ValueError(name)
