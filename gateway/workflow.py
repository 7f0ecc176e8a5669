"""Durable execution on DBOS Transact: which job runs where, and what becomes of it when its replica is gone.

DBOS holds the queue and runs one workflow a job, of one step: the whole pipeline. It needs no more memory than that,
because every finished stage is kept under the digest of what went into it, so that a run that is done again pays for
nothing twice. Our tables are the truth: a run may work on a job only while the job names it (``Store.take``).

A replica that restarts finds its own runs again, which DBOS does. A replica that is gone for good is noticed by its
lease; a run that is gone in any other way, by its status. Either way a sweep hands the job to a new run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from dbos import DBOS, DBOSClient
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from gateway import metrics
from gateway.settings import Settings
from gateway.store import Run, Store, in_thread
from lensora.core.errors import LensoraError

if TYPE_CHECKING:
    from dbos import WorkflowStatus
    from sqlalchemy import Engine

_QUEUE, _WORKFLOW = "jobs", "job"
_VERSION = "1"
"""Of the workflow's shape, never of the build: a job must not be stranded by a rollout."""

_LIVE = ("ENQUEUED", "DELAYED", "PENDING")
_ENDED = ("SUCCESS", "ERROR", "CANCELLED")
_KEPT, _BATCH = timedelta(days=1), 500
_log = structlog.get_logger()


class Executor:
    """One replica, as it runs jobs. One a process, because DBOS is.

    Args:
        settings: of the gateway.
        store: the tables.
        work: ``work(job_id, workflow_id)`` runs a job to its end; cancelled when the job is, or the process stops.
        give_up: ends a job whose runs were all lost.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        work: Callable[[str, str], Coroutine[Any, Any, None]],
        give_up: Callable[[Run], Awaitable[None]],
    ) -> None:
        self._settings, self._store, self._work, self._give_up = settings, store, work, give_up
        self.database = store.database
        self._tasks: set[asyncio.Task[None]] = set()
        self._engine: Engine | None = None
        self._client: DBOSClient | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        """By workflow."""
        self._cancelled: set[str] = set()
        self._held: set[asyncio.Task[None]] = set()
        self._ended: set[str] = set()
        self._unnoted: set[str] = set()
        self._stopping = False

    async def start(self) -> None:
        """Join the replicas: take up our own jobs again, and those of the dead."""
        self._engine = await asyncio.to_thread(self.database.workflow_engine)
        DBOS(
            config={
                "name": "lensora",
                "system_database_engine": self._engine,
                "executor_id": self._settings.executor_id,
                "application_version": _VERSION,
                "notification_listener_polling_interval_sec": 1.0,
                "log_level": "ERROR",
            }
        )

        @DBOS.step(name="work", preemptible=True)
        async def work(job_id: str) -> None:
            await self._step(job_id)

        @DBOS.workflow(name=_WORKFLOW)
        async def job(job_id: str) -> None:
            await work(job_id)

        await self._renew()
        DBOS.launch()  # inside the loop that the engine's coroutines must run in
        await DBOS.register_queue_async(
            _QUEUE,
            worker_concurrency=self._settings.running_jobs,
            partition_concurrency=self._settings.running_jobs_per_account,
            polling_interval_sec=self._settings.dispatch_seconds,
        )
        self._client = DBOSClient(system_database_engine=self._engine, retry_connection_errors=False)
        for name, chore, seconds in (
            ("lease", self._renew, self._settings.lease_seconds / 4),
            ("sweep", self.sweep, self._settings.sweep_seconds),
            ("prune", self.prune, self._settings.retention_seconds),
        ):
            self._tasks.add(asyncio.create_task(every(seconds, name, chore)))

    async def stop(self) -> None:
        """Leave the replicas: what runs here stays open, for this executor's next start or for another replica."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is None or self._engine is None:
            return
        self._stopping = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        # What it can no longer note it finds again at the next start, so its complaints would only frighten.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        # DBOS had put its threads in place of the loop's own, and has ended them
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        for held in self._held:
            held.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        self._client.destroy()
        with contextlib.suppress(DBAPIError):  # a database that is down; the lease runs out by itself
            await self._store.end_lease(self._settings.executor_id)
        # DBOS does not wait for all of its threads; what they still hold is closed as they give it back
        event.listen(self._engine, "checkin", lambda _, record: record.invalidate())
        self._engine.dispose()

    def enqueue(self, connection: Connection, run: Run) -> None:
        """Queue a run, within the transaction that makes or changes its job."""
        client = self._client
        if client is None:
            raise RuntimeError("the executor has not been started")
        client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": _WORKFLOW,
                "queue_name": _QUEUE,
                "workflow_id": run.workflow_id,
                "app_version": _VERSION,
                "queue_partition_key": run.account_id,
                "priority": run.number,  # first come, first served: times are too coarse for that
                "application_name": "lensora",
            },
            run.job_id,
        )

    async def cancel(self, workflow_id: str) -> None:
        """Stop a run wherever it is; its job must have been ended before."""
        await DBOS.cancel_workflow_async(workflow_id)
        if workflow_id in self._running:  # DBOS looks for what was cancelled but once a second
            self._cancelled.add(workflow_id)
            self._running[workflow_id].cancel()

    async def sweep(self) -> None:
        """Give every open job whose run is lost a new one; after too many, give the job up.

        Runs of dead replicas are closed: DBOS would count them as running for ever, and others of their accounts wait.
        """
        await self._close_unnoted()
        runs = {run.workflow_id: run for run in await self._store.open_runs()}
        found = await self._list(workflow_ids=list(runs)) if runs else []
        pending = await self._list(status="PENDING", queue_name=_QUEUE)
        living = await self._store.living()  # after these: a replica has its lease before it has a run
        if self._settings.executor_id not in living:
            return  # the database was away, or this machine asleep: the others, too, have yet to say that they live
        alive = {
            status.workflow_id
            for status in found
            if status.status in _LIVE and (status.status != "PENDING" or status.executor_id in living)
        }
        queued = sum(status.status in ("ENQUEUED", "DELAYED") for status in found)
        _tell_open(queued, len(runs) - queued)
        for workflow_id, run in runs.items():
            if workflow_id not in alive:
                await self._replace(run)
        for status in pending:
            if status.executor_id not in living:
                await self.cancel(status.workflow_id)
                _log.warning("run closed", workflow_id=status.workflow_id, executor_id=status.executor_id)

    async def _close_unnoted(self) -> None:
        """Close the runs that ended here though DBOS could not note it, as on a full disk.

        It would count them as running for ever, and their jobs would wait. A run that ended just now is let be: it is
        closed if it was running for DBOS in the last sweep, too.
        """
        ended = set(self._ended)
        if not ended:
            return
        found = await self._list(workflow_ids=list(ended))
        running = {status.workflow_id for status in found if status.status == "PENDING"}
        for workflow_id in running & self._unnoted:
            await self.cancel(workflow_id)
            _log.warning("run closed", workflow_id=workflow_id)
        self._ended -= (ended - running) | self._unnoted
        self._unnoted = running - self._unnoted

    async def prune(self, kept: timedelta = _KEPT) -> None:
        """Delete runs that ended longer ago than that; the jobs' own rows tell all there is to tell."""
        before = (datetime.now(UTC) - kept).isoformat()
        while ended := await self._list(status=list(_ENDED), completed_before=before, limit=_BATCH):
            await DBOS.delete_workflows_async([status.workflow_id for status in ended])

    async def _list(self, **which: Any) -> list[WorkflowStatus]:
        return await DBOS.list_workflows_async(**which, load_input=False, load_output=False)

    async def _replace(self, run: Run) -> None:
        if run.runs >= self._settings.max_runs:
            _log.error("job lost", job_id=run.job_id, runs=run.runs)
            await self._give_up(run)
            return
        if await self._requeue(run):
            _log.warning("job taken over", job_id=run.job_id, runs=run.runs + 1)

    @in_thread
    def _requeue(self, run: Run) -> bool:
        """Give an open job another run, unless somebody did it before."""
        workflow_id = str(uuid.uuid4())
        with self.database.writing() as connection:
            ours = self._store.replace_run(connection, run, workflow_id)
            if ours:
                self.enqueue(connection, replace(run, workflow_id=workflow_id))
        return ours

    async def _step(self, job_id: str) -> None:
        workflow_id = str(DBOS.workflow_id)
        task = asyncio.create_task(self._work(job_id, workflow_id))
        self._running[workflow_id] = task
        if self._stopping:
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if self._stopping or workflow_id in self._cancelled:
                await self._hold()
            raise
        finally:
            del self._running[workflow_id]
            self._cancelled.discard(workflow_id)
            self._ended.add(workflow_id)

    async def _hold(self) -> None:
        """Keep from DBOS that a run ended: it would note that it failed.

        One that a stop ended is to be found again; a cancel DBOS finds out by itself, and ends the step in its own way.
        """
        this = asyncio.current_task()
        if this is None:
            return
        self._held.add(this)
        try:
            await asyncio.Event().wait()
        finally:
            self._held.discard(this)

    async def _renew(self) -> None:
        expires_at = datetime.now(UTC) + timedelta(seconds=self._settings.lease_seconds)
        await self._store.renew_lease(self._settings.executor_id, expires_at)


def _tell_open(queued: int, running: int) -> None:
    metrics.jobs_open.set(queued, {"status": "queued"})
    metrics.jobs_open.set(running, {"status": "running"})


async def every(seconds: float, name: str, chore: Callable[[], Awaitable[None]]) -> None:
    """Do a chore again and again; a database, a blob store or a disk that fails for a while does not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except DBAPIError as error:
            _log.error("chore failed", chore=name, error=type(error.orig).__name__)
        except LensoraError as error:
            _log.error("chore failed", chore=name, error=error.message)
        except Exception as error:  # noqa: BLE001 - were this to end, our jobs would be taken for a dead replica's
            _log.error("chore failed", chore=name, exc_info=error)
