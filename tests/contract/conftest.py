"""One gateway over five scripted services for most tests, set back after each; a fresh one for those that break it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.harness import Gateway, running_gateway, running_services, shared
from tests.contract.scripted import Services


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share one event loop, because they share servers."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    async with running_services(tmp_path_factory.getbasetemp()) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")  # its threads must not run on beside other tests
async def shared_home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    yield tmp_path_factory.mktemp("home")
    await shared.stop()


@pytest.fixture
def services(shared_services: Services) -> Services:
    """Five services that do as told and have not been called yet; not to be stopped."""
    shared_services.reset()
    return shared_services


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(shared_home: Path, services: Services, request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """A gateway over ``services`` that never saw this test's photo."""
    running = await shared.get(shared_home, services)
    running.photo = request.node.nodeid.encode()
    running.studio._stages._asked.clear()
    yield running
    if shared.running is running:
        await running.cancel_all()
    services.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with a home and with services of its own, to be stopped and broken at will."""
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, connect_seconds=0.5, retry_seconds=0.01) as running,
    ):
        yield running
