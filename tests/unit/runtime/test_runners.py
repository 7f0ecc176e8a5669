"""The thread runner: progress in order, and an end on cancel and at the deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from lensora.core.engines import EngineNotFound
from lensora.core.errors import Cancelled, DeadlineExceeded, InvalidArgument, Unavailable
from lensora.runtime.runners import StopFlag, ThreadRunner
from lensora.runtime.settings import ServiceSettings

PACKAGE = "toy_engines"


async def started(**changes: Any) -> ThreadRunner:
    runner = ThreadRunner("toy", ServiceSettings.model_validate({"engine": "scripted"} | changes), PACKAGE)
    await runner.start()
    return runner


def nobody(_: float, __: str) -> None:
    """Takes no notice of progress."""


async def signalled(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 5)


async def test_progress_comes_in_order_in_the_event_loop_before_the_result() -> None:
    runner = await started()
    steps = [(number / 100, f"phase {number // 10}") for number in range(100)]
    seen: list[Any] = []

    def report(fraction: float, phase: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((fraction, phase))

    seen.append(await runner.run(("steps", *steps), report, None))
    assert seen == [*steps, "stepped"]
    await runner.stop()


async def test_a_typed_error_passes_as_it_is() -> None:
    runner = await started()
    with pytest.raises(InvalidArgument) as refused:
        await runner.run(("refuse",), nobody, None)
    assert refused.value.reason == "NO_SUCH_THING"
    await runner.stop()


async def test_a_cancel_stops_the_engine_and_frees_its_place(events: Any) -> None:
    runner = await started(max_concurrency=1)
    task = asyncio.create_task(runner.run(("loop", "one"), nobody, None))
    await signalled(events["one"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await signalled(events["one ended"])
    assert await asyncio.wait_for(runner.run(("echo", "free"), nobody, None), 5) == "free"
    await runner.stop()


async def test_a_run_cancelled_in_the_queue_never_starts(events: Any) -> None:
    runner = await started(max_concurrency=1)
    first = asyncio.create_task(runner.run(("wait", "go"), nobody, None))
    second = asyncio.create_task(runner.run(("loop", "two"), nobody, None))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second], timeout=5)
    events["go"].set()
    assert await first == "go" and await runner.run(("echo", 1), nobody, None) == 1
    assert not events["two"].is_set()
    await runner.stop()


async def test_the_deadline_stops_the_engine(events: Any) -> None:
    runner = await started()
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await runner.run(("loop", "late"), nobody, start + 0.1)
    assert 0.1 <= time.monotonic() - start < 2 and events["late ended"].is_set()
    await runner.stop()


async def test_only_so_many_run_at_the_same_time(events: Any) -> None:
    runner = await started(max_concurrency=2)
    tasks = [asyncio.create_task(runner.run(("loop", str(number)), nobody, None)) for number in range(3)]
    await signalled(events["0"])
    await signalled(events["1"])
    assert not events["2"].is_set()
    tasks[0].cancel()
    await signalled(events["2"])
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)
    await runner.stop()


async def test_an_unknown_engine_lists_those_there_are() -> None:
    runner = ThreadRunner("toy", ServiceSettings(engine="nonsense"), PACKAGE)
    with pytest.raises(EngineNotFound, match="there are: gated, refusing, scripted, unloadable"):
        await runner.start()
    with pytest.raises(Unavailable) as loading:
        await runner.run(("echo", 1), nobody, None)
    assert loading.value.reason == "ENGINE_LOADING"
    with pytest.raises(Unavailable):
        _ = runner.engine
    await runner.stop()


def test_the_flag_says_why() -> None:
    reports: list[tuple[float, str]] = []
    flag = StopFlag(lambda *report: reports.append(report), None)
    flag.progress(0.5, "x")
    flag.stop()
    for ask in (flag.check, lambda: flag.progress(0.6)):
        with pytest.raises(Cancelled):
            ask()
    assert reports == [(0.5, "x")], "no progress after the end"
    with pytest.raises(DeadlineExceeded):
        StopFlag(nobody, time.monotonic() - 1).check()
