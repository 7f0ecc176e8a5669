"""A caller over HTTP of the gateway that all contract tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.contract.harness import Gateway
from tests.contract.http.caller import Caller, calling


@pytest_asyncio.fixture(loop_scope="session")
async def caller(gateway: Gateway) -> AsyncIterator[Caller]:
    """Who calls ``gateway`` without a key."""
    clock = gateway.signer._clock
    async with calling(gateway) as one:
        yield one
    gateway.signer._clock = clock
