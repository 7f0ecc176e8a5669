"""A gateway that stops, is killed, or loses its database's word in the middle: no job is lost, none is paid twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway import ledger
from gateway.model import Job, JobEvent, Step, StepState
from gateway.store import Run
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, running_gateway, spec_of
from tests.contract.scripted import JOB_METHODS, Services

RELEASE_0_1 = Path(__file__).parents[1] / "unit/gateway/release_0_1.sql"
SUCCEEDED = studio_pb2.JOB_STATUS_SUCCEEDED


@pytest.fixture
def either_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways without a database of their own get this one."""
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)


on_both = pytest.mark.usefixtures("either_database")


async def balance(gateway: Gateway) -> ledger.Balance:
    with gateway.store.database.reading() as connection:
        return ledger.balance(connection, "local")


@on_both
async def test_a_gateway_that_stops_goes_on_with_its_jobs_at_its_next_start(tmp_path: Path, services: Services) -> None:
    services["Reconstruct"].held()
    async with running_gateway(tmp_path, services, running_jobs=1) as gateway:
        session = await gateway.upload()
        running = await gateway.create(spec_of(session.session_id))
        queued = await gateway.create(spec_of(session.session_id, object_index=1))
        await services["Reconstruct"].begun()
        await gateway.until(running.job_id, studio_pb2.STEP_COMPOSITING, studio_pb2.STEP_STATE_DONE)
        assert (await balance(gateway)).held == 2 * ledger.JOB_PRICE
    assert (await services["Reconstruct"].calls[0].gone()).cancelled
    before = services.counts()
    services["Reconstruct"].hold = None
    async with running_gateway(tmp_path, services) as gateway:
        for job in (running, queued):
            assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        after = services.counts()
        assert {name: after[name] - before.get(name, 0) for name in JOB_METHODS} == {
            "Segment": 1, "BuildScene": 0, "Compose": 1, "Reconstruct": 2, "Render": 2,
        }, "what was done was not done again"  # fmt: skip
        assert await balance(gateway) == _spent(jobs=2, uploads=1)


@on_both
async def test_a_job_whose_run_is_lost_gets_another(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, sweep_seconds=0.05) as gateway:
        hold = services["Render"].held()
        job = await gateway.start()
        await services["Render"].begun()
        await DBOS.cancel_workflow_async(job.job_id)  # behind the gateway's back
        assert (await services["Render"].calls[0].gone()).cancelled
        hold.set()
        assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        assert services.counts() == {"DetectObjects": 1, **dict.fromkeys(JOB_METHODS, 1), "Render": 2}
        assert await balance(gateway) == _spent(jobs=1, uploads=1)


_UNNOTED = """
CREATE TRIGGER unnoted BEFORE UPDATE ON workflow_status WHEN NEW.status = 'ERROR'
BEGIN SELECT RAISE(ABORT, 'disk full'); END
"""


async def test_a_run_whose_end_cannot_be_noted_is_closed_and_its_job_gets_another(
    tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(tmp_path, services, sweep_seconds=0.05, running_jobs=1) as gateway:
        record = gateway.store.record

        async def fails(job: Job, happened: JobEvent, *others: Any) -> bool:
            if (happened.step, happened.state) == (Step.RENDERING_VIDEO, StepState.DONE):
                raise OperationalError("UPDATE jobs", {}, OSError("disk full"))
            return await record(job, happened, *others)

        hold = services["Render"].held()
        job = await gateway.start()
        await services["Render"].begun()
        with gateway.store.database.writing() as connection:
            connection.execute(text(_UNNOTED))
        with monkeypatch.context() as patch:
            patch.setattr(gateway.store, "record", fails)
            hold.set()
            await gateway.settled(lambda: gateway.studio._executor._running)
        assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        await gateway.make(seed=1)  # the one place in the queue is free again
        assert services.counts()["Render"] == 2
        assert await balance(gateway) == _spent(jobs=2, uploads=2)


@on_both
async def test_a_job_that_is_lost_again_and_again_is_given_up(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, sweep_seconds=0.05, max_runs=2) as gateway:
        services["Render"].held()
        job = await gateway.start()
        for number in (1, 2):
            await services["Render"].begun(number)
            await DBOS.cancel_workflow_async(await gateway.store.workflow(job.job_id))
        ended = await gateway.finished(job.job_id)
        assert (ended.status, ended.error.reason) == (studio_pb2.JOB_STATUS_FAILED, "JOB_LOST")
        assert (ended.credits_used, ended.credits_refunded) == (75, 75)
        assert await balance(gateway) == _spent(jobs=0, uploads=1)


@on_both
async def test_a_dead_replicas_job_is_taken_over_and_its_late_word_is_not_heard(
    tmp_path: Path, services: Services
) -> None:
    async with running_gateway(tmp_path, services) as gateway:
        services["Render"].phases = ()
        first = services["Render"].held()
        job = await gateway.start()
        await services["Render"].begun()
        # all else is told: a first run that hears of its successor throws away what it is at
        await gateway.until(job.job_id, studio_pb2.STEP_COMPOSITING, studio_pb2.STEP_STATE_DONE)
        (run,) = await gateway.store.open_runs()
        await gateway.studio._executor._replace(run)  # as another replica does when our lease has run out
        first.set()
        assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        assert services.counts()["Render"] == 1, "what the first run made, the second found"
        await gateway.settled(lambda: gateway.studio._executor._running)
        assert await balance(gateway) == _spent(jobs=1, uploads=1)
        assert not await _replaced(gateway, run), "nobody takes over what has ended"


@on_both
async def test_a_replica_that_is_gone_for_good_takes_no_place_in_its_accounts_line(
    tmp_path: Path, services: Services
) -> None:
    """Both places of the account are taken by runs of a replica that never comes back, and a third job waits."""
    services["Render"].held()
    async with running_gateway(tmp_path, services, executor_id="gone", running_jobs_per_account=2) as gateway:
        jobs = [await gateway.start(seed=seed) for seed in range(3)]
        await services["Render"].begun(2)
    services["Render"].hold = None
    changes: dict[str, Any] = {"executor_id": "another", "running_jobs_per_account": 2, "sweep_seconds": 0.1}
    async with running_gateway(tmp_path, services, **changes) as gateway:
        for job in jobs:
            assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        assert await balance(gateway) == _spent(jobs=3, uploads=3)


@on_both
async def test_a_gateway_that_was_asleep_takes_no_job_from_anybody(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, sweep_seconds=0.05, lease_seconds=3600) as gateway:
        hold = services["Render"].held()
        job = await gateway.start()
        await services["Render"].begun()
        await gateway.store.renew_lease("local", datetime.now(UTC) - timedelta(hours=1))
        await asyncio.sleep(0.5)
        hold.set()
        assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        assert services.counts()["Render"] == 1


@on_both
async def test_runs_that_ended_a_while_ago_are_forgotten_and_open_ones_are_not(
    tmp_path: Path, services: Services
) -> None:
    async with running_gateway(tmp_path, services) as gateway:
        done = await gateway.make()
        render = services["Render"].held()
        for number in (2, 3):
            job = await gateway.start(seed=number)
            await services["Render"].begun(number)
            if number == 2:
                await gateway.cancel(job.job_id)
        await gateway.settled(lambda: len(gateway.studio._executor._running) > 1)
        await gateway.studio._executor.prune()
        assert len(await DBOS.list_workflows_async()) == 3, "nothing goes before its time"
        await gateway.studio._executor.prune(timedelta(seconds=-1))
        (left,) = await DBOS.list_workflows_async()
        assert left.workflow_id == await gateway.store.workflow(job.job_id)
        render.set()
        assert (await gateway.finished(job.job_id)).status == SUCCEEDED
        assert (await gateway.get(done.job_id)).status == SUCCEEDED


async def _replaced(gateway: Gateway, run: Run) -> bool:
    with gateway.store.database.writing() as connection:
        return gateway.store.replace_run(connection, run, "late")


def _spent(*, jobs: int, uploads: int) -> ledger.Balance:
    """What a new local account has after so many good jobs and uploads."""
    earned = jobs * ledger.JOB_PRICE + uploads * ledger.INIT_PRICE
    return ledger.Balance(10**12 - earned, 0, earned, -(10**12))


async def test_a_job_that_release_0_1_left_open_goes_on_and_costs_nothing(tmp_path: Path, services: Services) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "studio.db")) as connection:
        connection.executescript(await asyncio.to_thread(RELEASE_0_1.read_text))
    async with running_gateway(tmp_path, services, sweep_seconds=0.05) as gateway:
        ended = await gateway.finished("0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c22")
        assert (ended.status, ended.error.reason) == (studio_pb2.JOB_STATUS_FAILED, "SESSION_NOT_FOUND")
        assert (ended.credits_used, ended.credits_refunded) == (0, 0)
        assert await balance(gateway) == ledger.Balance(ledger.MAX_GRANT, 0, 0, -ledger.MAX_GRANT)
        assert len((await gateway.get("0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21")).artifacts) == 5


async def test_a_home_may_have_any_name(tmp_path: Path, services: Services) -> None:
    home = tmp_path / "é a?b#c%20&d=e"
    await asyncio.to_thread(home.mkdir)
    for name in ("DetectObjects", "Render"):
        services[name].to_target = True
    async with running_gateway(home, services) as gateway:
        await gateway.make()
    assert await asyncio.to_thread(os.listdir, tmp_path) == [home.name]
