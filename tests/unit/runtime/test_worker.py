"""The worker process: whatever its engine does, the caller is told, the next run works, and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from lensora.core.engines import EngineNotFound
from lensora.core.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    Unavailable,
)
from lensora.runtime.worker import ProcessRunner, WorkerSettings

PACKAGE = "toy_engines"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


def settings(**changes: Any) -> WorkerSettings:
    return WorkerSettings.model_validate({"engine": "scripted", "stall_seconds": 20} | changes)


def workers() -> list[int]:
    """Processes that run an engine for us, without the resource tracker of multiprocessing."""
    children = psutil.Process().children()
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for something in another process, which no event can tell."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[ProcessRunner]:
    """One runner for all tests here: each leaves it able to run, and that is half of what is tested."""
    runner = ProcessRunner("toy", settings(), PACKAGE)
    with pytest.raises(Unavailable, match="still loading"):
        _ = runner.engine
    await runner.start()
    yield runner
    await runner.stop()
    assert workers() == []


async def run(runner: ProcessRunner, *action: Any, seconds: float | None = None) -> Any:
    deadline = None if seconds is None else time.monotonic() + seconds
    return await asyncio.wait_for(runner.run(action, lambda *_: None, deadline), 20)


async def test_a_result_after_its_progress(runner: ProcessRunner) -> None:
    reports: list[tuple[float, str]] = []
    steps = [(0.1, "a"), (0.2, "a"), (0.9, "b")]
    assert await runner.run(("steps", *steps), lambda *report: reports.append(report), None) == "stepped"
    assert reports == steps
    assert runner.engine.fingerprint == "toy/scripted@3"
    assert await run(runner, "engine_name") == "scripted", "the settings reach the engine"


async def test_large_values_travel_both_ways(runner: ProcessRunner) -> None:
    value = os.urandom(8_000_000)
    assert await run(runner, "echo", value) == value


async def test_a_typed_error_comes_whole_and_costs_no_worker(runner: ProcessRunner) -> None:
    pid = await run(runner, "pid")
    with pytest.raises(InvalidArgument) as refused:
        await run(runner, "refuse")
    assert refused.value.reason == "NO_SUCH_THING" and refused.value.retry_after_s == 2.0
    assert refused.value.violations == (FieldViolation("thing", "must exist"),)
    assert refused.value.metadata == {"step": "toy"}
    for action in ("break_down", "unpicklable"):
        with pytest.raises(Internal) as broken:
            await run(runner, action)
        assert "4711" not in str(broken.value) and "ZeroDivision" not in str(broken.value)
    assert await run(runner, "pid") == pid


async def test_an_interrupt_does_not_reach_the_worker(runner: ProcessRunner) -> None:
    assert await run(runner, "interrupt") == "still here"


async def test_runs_wait_in_line(runner: ProcessRunner) -> None:
    assert await asyncio.gather(*(run(runner, "echo", number) for number in range(20))) == list(range(20))


async def test_an_input_that_kills_two_workers_is_refused_and_the_next_run_works(runner: ProcessRunner) -> None:
    pid = await run(runner, "pid")
    with pytest.raises(FailedPrecondition, match="tried twice") as refused:
        await run(runner, "exit")
    assert refused.value.reason == "INPUT_CRASHES_STAGE"
    assert await run(runner, "pid") != pid


async def test_one_crash_is_forgiven(runner: ProcessRunner, tmp_path: Path) -> None:
    pid = await run(runner, "pid")
    assert await run(runner, "exit_once", str(tmp_path / "marker"), 2) != pid


async def test_a_worker_killed_between_runs_is_replaced(runner: ProcessRunner) -> None:
    pid = await run(runner, "pid")
    os.kill(pid, signal.SIGKILL)
    assert await run(runner, "pid") != pid


async def test_a_cancel_kills_even_stuck_native_code_and_another_is_ready(runner: ProcessRunner) -> None:
    pid = await run(runner, "pid")
    stuck = asyncio.Event()
    task = asyncio.create_task(runner.run(("stuck",), lambda *_: stuck.set(), None))
    await asyncio.wait_for(stuck.wait(), 5)
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: gone(pid), 1.0)
    assert time.monotonic() - start < 1.0
    await until(lambda: [other for other in workers() if other != pid])
    assert await run(runner, "pid") != pid


async def test_a_cancel_while_waiting_in_line_disturbs_nobody(runner: ProcessRunner) -> None:
    busy = asyncio.Event()
    first = asyncio.create_task(runner.run(("steps", *[(0.5, "x")] * 500), lambda *_: busy.set(), None))
    await asyncio.wait_for(busy.wait(), 5)
    second = asyncio.create_task(run(runner, "pid"))
    await asyncio.sleep(0)
    second.cancel()
    assert await asyncio.wait_for(first, 10) == "stepped"
    await asyncio.wait([second], timeout=5)
    assert second.cancelled()


async def test_the_deadline_kills_what_does_not_listen(runner: ProcessRunner) -> None:
    pid = await run(runner, "pid")
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded) as late:
        await run(runner, "stuck", seconds=0.3)
    assert late.value.reason == "DEADLINE_EXCEEDED" and time.monotonic() - start < 2.0 and gone(pid)


async def test_the_deadline_stops_what_listens(runner: ProcessRunner) -> None:
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await run(runner, "loop", "deadline", seconds=0.1)
    assert time.monotonic() - start < 5.0


async def test_silence_is_a_stall(runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = await run(runner, "pid")
    monkeypatch.setattr(runner, "_settings", settings(stall_seconds=0.3))
    with pytest.raises(DeadlineExceeded, match="reported nothing") as stalled:
        await run(runner, "stuck")
    assert stalled.value.reason == "STAGE_STALLED" and gone(pid)


async def test_a_worker_that_grows_is_killed(runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_settings", settings(memory_limit_mb=200))
    with pytest.raises(FailedPrecondition) as refused:
        await run(runner, "grow", 250)
    assert refused.value.reason == "INPUT_CRASHES_STAGE"
    await until(workers)
    assert all(psutil.Process(pid).memory_info().rss < 200e6 for pid in workers())


async def test_a_message_that_cannot_be_read_is_no_stall(runner: ProcessRunner) -> None:
    with pytest.raises(FailedPrecondition):
        await run(runner, "refuse_oddly")
    assert await run(runner, "echo", 1) == 1


async def test_a_storm_of_cancels_leaves_one_worker_that_works(runner: ProcessRunner) -> None:
    for number in range(6):
        task = asyncio.create_task(runner.run(("loop", "storm"), lambda *_: None, None))
        await asyncio.sleep(0.03 * number)  # before, while and after a worker loads
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
    assert await run(runner, "echo", "calm") == "calm"
    await until(lambda: len(workers()) == 1)


async def test_a_successor_that_does_not_load_is_told_to_the_next_run_and_then_mended(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_settings", settings(engine="unloadable"))
        stuck = asyncio.Event()
        task = asyncio.create_task(runner.run(("stuck",), lambda *_: stuck.set(), None))
        await asyncio.wait_for(stuck.wait(), 5)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        with pytest.raises(Unavailable) as unloaded:
            await run(runner, "echo", 1)
        assert unloaded.value.reason == "ENGINE_NOT_LOADED"
    assert await run(runner, "echo", 1) == 1


async def test_a_stop_while_loading_leaves_nothing() -> None:
    before = set(workers())
    runner = ProcessRunner("toy", settings(), PACKAGE)
    starting = asyncio.create_task(runner.start())
    await until(lambda: set(workers()) - before)
    await runner.stop()
    with pytest.raises(Unavailable, match="stopping"):
        await asyncio.wait_for(starting, 5)
    assert set(workers()) == before


async def test_a_stop_ends_a_run_and_brings_up_no_successor() -> None:
    before = set(workers())
    runner = ProcessRunner("toy", settings(), PACKAGE)
    await runner.start()
    stuck = asyncio.Event()
    task = asyncio.create_task(runner.run(("stuck",), lambda *_: stuck.set(), None))
    await asyncio.wait_for(stuck.wait(), 5)
    await runner.stop()
    with pytest.raises(Unavailable, match="stopping"):
        await asyncio.wait_for(task, 5)
    assert set(workers()) == before
    with pytest.raises(Unavailable, match="stopping"):
        await run(runner, "echo", 1)


async def test_an_engine_that_is_not_there_or_does_not_load_is_no_fault_of_an_input() -> None:
    for name, kind, reason in (
        ("nonsense", EngineNotFound, "ENGINE_NOT_FOUND"),
        ("refusing", FailedPrecondition, "MODEL_MISSING"),
        ("unloadable", Unavailable, "ENGINE_NOT_LOADED"),
    ):
        runner = ProcessRunner("toy", settings(engine=name), PACKAGE)
        before = set(workers())
        with pytest.raises(kind) as refused:
            await (runner.start() if name != "unloadable" else run(runner, "echo", 1))
        assert refused.value.reason == reason
        assert name != "nonsense" or "there are: gated, refusing, scripted, unloadable" in str(refused.value)
        assert set(workers()) == before
        await runner.stop()


async def test_a_worker_dies_with_a_parent_that_was_killed() -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, sys.argv[1])
        from lensora.runtime.worker import ProcessRunner, WorkerSettings

        async def main():
            runner = ProcessRunner("toy", WorkerSettings(engine="scripted"), "toy_engines")
            await runner.start()
            print(await runner.run(("pid",), print, None), flush=True)
            await runner.run(("stuck",), lambda *_: print("stuck", flush=True), None)

        if __name__ == "__main__":
            asyncio.run(main())
    """)
    script = Path(__file__).parent
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert await asyncio.to_thread(parent.stdout.readline) == "stuck\n"
        family = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
        assert pid in family and not gone(pid)
        parent.kill()
    await until(lambda: all(gone(member) for member in family))


async def test_check_asks_the_engine_in_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    file.write_text("well")
    monkeypatch.setenv("TOY_FILE", str(file))
    runner = ProcessRunner("toy", settings(engine="watched"), PACKAGE)
    try:
        await runner.start()
        assert runner.engine.version == "3"
        await asyncio.to_thread(runner.check)
        assert runner.engine.version == "3-checked"
        file.write_text("ill")
        with pytest.raises(Unavailable) as told:
            await asyncio.to_thread(runner.check)
        assert told.value.reason == "TOY_ILL"
        assert await runner.run(("echo", 1), lambda *_: None, None) == 1
        file.write_text("crash")
        await asyncio.to_thread(runner.check)  # a worker that ends is replaced, as after any run
        file.write_text("well")
        assert await runner.run(("echo", 2), lambda *_: None, None) == 2
        await asyncio.to_thread(runner.check)
    finally:
        await runner.stop()


async def test_check_does_not_disturb_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    file.write_text("ill")
    monkeypatch.setenv("TOY_FILE", str(file))
    runner = ProcessRunner("toy", settings(engine="watched"), PACKAGE)
    try:
        await runner.start()
        begun = asyncio.Event()
        run = asyncio.create_task(runner.run(("stuck",), lambda *_: begun.set(), None))
        await begun.wait()
        await asyncio.to_thread(runner.check)  # the one line to the worker is taken
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    finally:
        await runner.stop()
