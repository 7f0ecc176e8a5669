"""One mesh with TLS for all tests of a module; each test has services of its own in it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from tests.mesh.world import World, running


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Instances run here, and would log every call."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A mesh that runs."""
    async with running(tmp_path_factory.mktemp("mesh"), tls=True) as world:
        world.configure("idle", [])
        await world.start_control()
        yield world
