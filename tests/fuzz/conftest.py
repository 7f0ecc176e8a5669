"""One set of services, and one gateway, for all cases; with ``FUZZ_EXAMPLES`` a table of what was answered."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator

import pytest
import structlog

from tests.fuzz import files
from tests.fuzz.harness import EXAMPLES, STORE, TALLIES, Caller, all_stages


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of servers and caller."""
    with asyncio.Runner() as runner:
        yield runner
    shutil.rmtree(str(STORE.folder))


@pytest.fixture(scope="module")
def stages(runner: asyncio.Runner) -> Iterator[Caller]:
    """A caller of the five services."""
    stages = all_stages(files.SCENE)
    yield Caller(runner, runner.run(stages.__aenter__()))
    runner.run(stages.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No log lines for refusals, of which there are thousands; those of unexpected errors stay."""
    before = structlog.get_config()
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure([plain], structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was answered, and by how much one case made the process grow."""
    if EXAMPLES:
        terminalreporter.section("fuzz")
        for name, tally in TALLIES.items():
            terminalreporter.write_line(f"{name}: {tally}")
