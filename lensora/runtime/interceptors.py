"""The one server interceptor: request id, log line, and exceptions turned into statuses, so servicers stay thin.

Requests are parsed here too, because gRPC answers a caller whose bytes are no message with UNKNOWN and a Python class.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from lensora.core.errors import Internal, InvalidArgument, LensoraError
from lensora.runtime.errors import grpc_code, to_status
from lensora.runtime.telemetry import ServedCall

REQUEST_ID = "x-request-id"
"""Metadata key that follows a request through all services."""

_QUIET = ("/grpc.health.v1.", "/grpc.reflection.")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger()


def request_id(given: str) -> str:
    """The caller's own id of a request, where it is a plain one; else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class Border(grpc.aio.ServerInterceptor):
    """Wraps every method of every servicer, and knows how many calls are running.

    Args:
        public: whether anybody may call, or only processes of ours.
        explained: makes an error that callers can be told of from one of a library that the process uses.
    """

    def __init__(
        self, *, public: bool = False, explained: Callable[[BaseException], BaseException] = lambda error: error
    ) -> None:
        self.public, self.explained = public, explained
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self, seconds: float) -> bool:
        """Whether all calls ended within ``seconds``; health checks do not count."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def enter(self) -> None:
        """One more call runs."""
        self._running += 1
        self._idle.clear()

    def leave(self) -> None:
        """One call less runs."""
        self._running -= 1
        if not self._running:
            self._idle.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Replace the handler's behaviour by one that ends with a status of ours, whatever happens."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_QUIET):
            return handler
        names = ("unary_unary", "unary_stream"), ("stream_unary", "stream_stream")
        name = names[handler.request_streaming][handler.response_streaming]
        parse = _Parser(handler.request_deserializer, streaming=handler.request_streaming)
        wrap = self._streaming if handler.response_streaming else self._unary
        make = getattr(grpc, f"{name}_rpc_method_handler")
        return make(wrap(method, getattr(handler, name), parse), None, handler.response_serializer)

    def _unary(self, method: str, behaviour: Any, parse: _Parser) -> Any:
        async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _Call(self, method, context):
                return await behaviour(parse(request), context)

        return wrapped

    def _streaming(self, method: str, behaviour: Any, parse: _Parser) -> Any:
        async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with (
                _Call(self, method, context),
                contextlib.aclosing(behaviour(parse(request), context)) as responses,
            ):
                async for response in responses:
                    yield response

        return wrapped


class _Parser:
    """Makes what a handler takes, one message or a stream of them, from the bytes that came."""

    def __init__(self, deserialize: Callable[[bytes], Any] | None, *, streaming: bool) -> None:
        """Without ``deserialize`` a handler takes bytes, as everywhere in gRPC."""
        self._deserialize, self._streaming = deserialize or bytes, streaming

    def __call__(self, request: Any) -> Any:
        return self._stream(request) if self._streaming else self._message(request)

    async def _stream(self, requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield self._message(data)

    def _message(self, data: bytes) -> Any:
        try:
            return self._deserialize(data)
        except DecodeError as error:
            description = "its bytes are no message of this method, or a text in it is not UTF-8"
            raise InvalidArgument.of("request", description, reason="MALFORMED_REQUEST") from error


class _Call:
    """The time around one call."""

    def __init__(self, border: Border, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._border, self._method, self._context = border, method, context
        self._start = time.monotonic()

    async def __aenter__(self) -> None:
        self._border.enter()
        metadata = dict(self._context.invocation_metadata() or ())
        headers = {str(name): value for name, value in metadata.items() if isinstance(value, str)}
        self._served = ServedCall(self._method.removeprefix("/"), headers, public=self._border.public)
        given = headers.get(REQUEST_ID, "")
        structlog.contextvars.bind_contextvars(request_id=request_id(given), method=self._method)

    async def __aexit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        self._border.leave()
        try:
            await self._tell(error)
        finally:
            self._served.end(error)

    async def _tell(self, error: BaseException | None) -> None:
        """One log line, and the status that the caller gets."""
        seconds = round(time.monotonic() - self._start, 4)
        error = self._border.explained(error) if error else None
        if error is None:
            _log.info("call", code="OK", seconds=seconds)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            _log.info("call", code="CANCELLED", seconds=seconds)
        elif isinstance(error, LensoraError):
            _log.info("call", code=grpc_code(error).name, reason=error.reason, message=error.message, seconds=seconds)
            await self._abort(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            _log.error("call", code="INTERNAL", seconds=seconds, exc_info=error)
            await self._abort(Internal("an unexpected error; see the service's log"))

    async def _abort(self, error: LensoraError) -> None:
        status = to_status(error)
        await self._context.abort(status.code, status.details, status.trailing_metadata)
