"""The database goes away for a while, and comes back: jobs go on, nobody pays twice, and callers are told meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gateway import ledger
from gateway.store import Database
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, collect, refused, running_gateway
from tests.contract.http.caller import Caller, calling
from tests.contract.http.caller import refused as problem
from tests.contract.scripted import PATIENCE, Services
from tests.postgres import Postgres
from tests.unit.gateway.books import audit


@contextlib.contextmanager
def gone(server: Postgres, url: str) -> Iterator[None]:
    """Meanwhile the server takes nobody into the database, and throws out who is in there."""
    name = Database(url).url.database
    server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        out = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - ours
        server.execute(out)
        yield
    finally:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def ready(gateway: Gateway, caller: Caller) -> dict[str, bool]:
    """What readiness says, looked up now."""
    gateway.health._checked_at = -1e9
    response = await caller.client.get("/readyz")
    checks: dict[str, bool] = response.json()["checks"]
    assert response.status_code == (200 if all(checks.values()) else 503)
    return checks


async def ended(gateway: Gateway, job_id: str) -> studio_pb2.Job:
    """The job once it has ended; with no limit of its own."""
    job: studio_pb2.Job = (await collect(gateway.stub.WatchJob(studio_pb2.WatchJobRequest(job_id=job_id))))[-1].job
    return job


@pytest.mark.parametrize("seconds", [0, 20])
async def test_a_database_that_is_gone_for_a_while(
    tmp_path: Path, services: Services, postgres: Postgres, postgres_template: str, seconds: float
) -> None:
    url = postgres.new_database(postgres_template)
    async with (
        running_gateway(tmp_path, services, database_url=url, sweep_seconds=0.05, running_jobs=1) as gateway,
        calling(gateway) as caller,
    ):
        hold = services["Render"].held()
        running, waiting = await gateway.start(), await gateway.start(seed=1)
        watch = studio_pb2.WatchJobRequest(job_id=running.job_id)
        watching = asyncio.create_task(collect(gateway.stub.WatchJob(watch)))
        await services["Render"].begun()
        assert all((await ready(gateway, caller)).values())
        with gone(postgres, url):
            assert not (await ready(gateway, caller))["database"]
            response = await caller.client.get(f"/v1/studio/result/{running.job_id}")
            problem(response, 503, "DATABASE_DOWN")
            for call in (gateway.get(running.job_id), gateway.upload(b"another"), gateway.cancel(waiting.job_id)):
                error = await refused(call, grpc.StatusCode.UNAVAILABLE, "DATABASE_DOWN")
                assert error.retry_after_s == 2.0 and "nothing was done" in error.message
            hold.set()  # the film is made, and nobody can be told
            await gateway.settled(lambda: gateway.studio._executor._running)
            await asyncio.sleep(seconds)  # longer than the gateway's lease
            assert not (await ready(gateway, caller))["database"]
        async with asyncio.timeout(PATIENCE + 2 * seconds):  # DBOS asks ever more seldom
            done = [await ended(gateway, job.job_id) for job in (running, waiting)]
        assert [job.status for job in done] == [studio_pb2.JOB_STATUS_SUCCEEDED] * 2, [job.error for job in done]
        assert (await watching)[-1].job == done[0], "who watched goes on watching"
        assert all((await ready(gateway, caller)).values())
        with gateway.store.database.reading() as connection:
            balance = ledger.balance(connection, "local")
        assert (balance.earned, balance.held) == (2 * ledger.INIT_PRICE + 2 * ledger.JOB_PRICE, 0)
        await audit(gateway.store.database)
