"""What a servicer raises is what its caller gets, through a real server: all of our errors, none of our secrets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import structlog
from structlog.testing import capture_logs

from lensora.core import errors
from lensora.core.engines import EngineNotFound
from lensora.core.errors import FieldViolation, Internal, InvalidArgument, LensoraError, Unavailable, Unimplemented
from lensora.runtime.errors import from_rpc, grpc_code, http_status
from lensora.runtime.interceptors import REQUEST_ID, Border

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LensoraError) and kind is not LensoraError
]
STATUSES = {
    "InvalidArgument": (grpc.StatusCode.INVALID_ARGUMENT, 422),
    "NotFound": (grpc.StatusCode.NOT_FOUND, 404),
    "AlreadyExists": (grpc.StatusCode.ALREADY_EXISTS, 409),
    "FailedPrecondition": (grpc.StatusCode.FAILED_PRECONDITION, 422),
    "ResourceExhausted": (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    "Unauthenticated": (grpc.StatusCode.UNAUTHENTICATED, 401),
    "Unavailable": (grpc.StatusCode.UNAVAILABLE, 503),
    "DeadlineExceeded": (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    "Cancelled": (grpc.StatusCode.CANCELLED, 499),
    "Unimplemented": (grpc.StatusCode.UNIMPLEMENTED, 501),
    "Internal": (grpc.StatusCode.INTERNAL, 500),
}

Behaviour = Callable[[bytes, Any], Any]


@contextlib.asynccontextmanager
async def calling(unary: Behaviour | None = None, streaming: Behaviour | None = None) -> AsyncIterator[Any]:
    """A channel to a server with these two methods behind the border: ``/t/Unary`` and ``/t/Stream``."""
    handlers: dict[str, Any] = {}
    if unary:
        handlers["Unary"] = grpc.unary_unary_rpc_method_handler(unary)
    if streaming:
        handlers["Stream"] = grpc.unary_stream_rpc_method_handler(streaming)
    server = grpc.aio.server(interceptors=[Border()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def failure(channel: Any, method: str = "/t/Unary") -> LensoraError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await channel.unary_unary(method)(b"", timeout=5)
    return from_rpc(raised.value)


def raising(error: BaseException) -> Behaviour:
    async def behaviour(_: bytes, __: Any) -> bytes:
        raise error

    return behaviour


@pytest.mark.parametrize("kind", KINDS)
async def test_every_error_comes_through_whole(kind: type[LensoraError]) -> None:
    error = kind(
        "a sentence with ünïcode, 100 % of it\nand a second line",
        reason="SOME_REASON",
        violations=(FieldViolation("background.url", "https only"), FieldViolation("seed", "an integer")),
        retry_after_s=1.25,
        metadata={"step": "mesh3d", "größe": "zu groß"},
    )
    async with calling(raising(error)) as channel:
        copy = await failure(channel)
    assert type(copy) is kind and vars(copy) == vars(error)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bare_error_stays_bare(kind: type[LensoraError]) -> None:
    async with calling(raising(kind("x"))) as channel:
        copy = await failure(channel)
    assert type(copy) is kind and vars(copy) == vars(kind("x"))


def test_one_table_for_both_transports() -> None:
    assert {kind.__name__: (grpc_code(kind("x")), http_status(kind("x"))) for kind in KINDS} == STATUSES
    outside = EngineNotFound("x")
    assert (grpc_code(outside), http_status(outside)) == (grpc.StatusCode.INTERNAL, 500)


async def test_a_long_story_is_cut_but_keeps_its_kind() -> None:
    violations = tuple(FieldViolation(f"field{number}", "ü" * 1000) for number in range(100))
    async with calling(raising(InvalidArgument("ü" * 100_000, reason="LONG", violations=violations))) as channel:
        copy = await failure(channel)
    assert isinstance(copy, InvalidArgument) and copy.reason == "LONG"
    assert copy.violations and copy.message.startswith("üü")


async def test_an_unexpected_exception_tells_the_caller_nothing() -> None:
    async with calling(raising(ZeroDivisionError("the secret is 4711"))) as channel:
        with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/t/Unary")(b"")
    copy = from_rpc(raised.value)
    assert type(copy) is Internal and copy.reason == "INTERNAL"
    everything = f"{raised.value.details()} {raised.value.debug_error_string()} {raised.value.trailing_metadata()}"
    assert all(word not in everything for word in ("4711", "ZeroDivision", "Traceback", __file__))
    (line,) = [line for line in logs if line["event"] == "call"]
    assert line["code"] == "INTERNAL" and isinstance(line["exc_info"], ZeroDivisionError), "the log has it all"


async def test_an_error_in_the_middle_of_a_stream_comes_after_what_was_sent() -> None:
    async def stream(_: bytes, __: Any) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"
        raise InvalidArgument.of("field", "rule", reason="LATE")

    received = []
    async with calling(streaming=stream) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for response in channel.unary_stream("/t/Stream")(b"", timeout=5):
                received.append(response)  # noqa: PERF401 - what came before the error counts
    copy = from_rpc(raised.value)
    assert received == [b"one", b"two"]
    assert isinstance(copy, InvalidArgument) and copy.reason == "LATE" and copy.violations[0].field == "field"


async def test_what_a_servicer_aborts_by_itself_passes_unchanged() -> None:
    async def unary(_: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
        raise AssertionError

    async with calling(unary) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/t/Unary")(b"")
    assert raised.value.code() == grpc.StatusCode.DATA_LOSS and raised.value.details() == "lost"
    assert type(from_rpc(raised.value)) is Internal


async def test_what_the_transport_says_is_typed_too(free_port: int) -> None:
    async with calling(raising(Internal("x"))) as channel:
        assert type(await failure(channel, "/t/Nothing")) is Unimplemented
    async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
        assert type(await failure(channel)) is Unavailable


@pytest.mark.parametrize(
    ("given", "kept"),
    [("job-1.a_B", True), (None, False), ("two words", False), ("x" * 65, False), ('"}{"code":"OK', False)],
)
async def test_the_request_id_is_bound_and_logged_but_never_trusted(given: str | None, *, kept: bool) -> None:
    bound: list[dict[str, Any]] = []

    async def unary(_: bytes, __: Any) -> bytes:
        await asyncio.sleep(0)
        bound.append(structlog.contextvars.get_contextvars())
        return b"done"

    metadata = ((REQUEST_ID, given),) if given else ()
    async with calling(unary) as channel:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            await channel.unary_unary("/t/Unary")(b"", metadata=metadata)
            await asyncio.sleep(0)
    (line,) = [line for line in logs if line["event"] == "call"]
    assert line["request_id"] == bound[0]["request_id"] and (line["request_id"] == given) is kept
    assert line["method"] == "/t/Unary" and line["code"] == "OK" and line["seconds"] >= 0
    assert kept or len(line["request_id"]) == 32


async def test_calls_at_the_same_time_keep_their_own_ids() -> None:
    both = asyncio.Barrier(2)

    async def stream(request: bytes, _: Any) -> AsyncIterator[bytes]:
        await both.wait()
        yield request
        await both.wait()
        yield structlog.contextvars.get_contextvars()["request_id"].encode()

    async def call(name: bytes) -> list[bytes]:
        method = channel.unary_stream("/t/Stream")
        return [response async for response in method(name, timeout=5, metadata=((REQUEST_ID, name.decode()),))]

    async with calling(streaming=stream) as channel:
        assert tuple(await asyncio.gather(call(b"one"), call(b"two"))) == ([b"one", b"one"], [b"two", b"two"])


async def test_a_cancelled_stream_is_logged_and_its_servicer_cleaned_up() -> None:
    ended = asyncio.Event()

    async def stream(_: bytes, __: Any) -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with calling(streaming=stream) as channel:
        with capture_logs() as logs:
            call = channel.unary_stream("/t/Stream")(b"")
            assert await call.read() == b"one"
            call.cancel()
            await asyncio.wait_for(ended.wait(), 5)
            await asyncio.sleep(0.01)
    assert [line["code"] for line in logs if line["event"] == "call"] == ["CANCELLED"]


async def test_what_a_caller_wrote_is_quoted_without_its_control_characters() -> None:
    async with calling(raising(InvalidArgument.of("a\0b", "no \x1b[31mcolour here"))) as channel:
        error = await failure(channel)
    assert error.message == "a\ufffdb: no \ufffd[31mcolour here"
    assert error.violations == (FieldViolation("a\ufffdb", "no \ufffd[31mcolour here"),)
