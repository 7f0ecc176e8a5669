"""Hundreds of jobs while gateways and services are killed, stopped, and jobs cancelled; then the books are checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from sqlalchemy import func, select

from bench.gateway import world
from bench.gateway.world import Process, World
from gateway.model import JobStatus
from gateway.store import Database
from gateway.store.tables import balances, jobs, ledger_entries, ledger_transactions, stage_results
from lensora.studio.v1 import studio_pb2

TERMINAL = {studio_pb2.JOB_STATUS_SUCCEEDED, studio_pb2.JOB_STATUS_FAILED, studio_pb2.JOB_STATUS_CANCELLED}
_PATIENCE = 240.0
"""How long after the last kill every job must have ended, seconds."""


_SAME_MOMENT = timedelta(seconds=0.1)


@dataclass(slots=True)
class Findings:
    """What the books say after it."""

    jobs: int = 0
    lost: int = 0
    ledger_errors: int = 0
    double_charges: int = 0
    reruns: int = 0
    broken_stories: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the jobs that failed."""
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Chaos:
    """One run.

    Args:
        running: gateways and services.
        database_url: what they share.
        count: jobs.
        seed: of every choice; what happens depends on the machine's timing all the same.
    """

    def __init__(self, running: World, database_url: str, count: int, seed: int) -> None:
        self._world, self._url, self._count = running, database_url, count
        self._pick = random.Random(seed)  # noqa: S311
        self._findings = Findings()
        self._created: dict[str, str] = {}
        """Job by idempotency key."""

    async def run(self) -> Findings:
        """Do it."""
        begun = time.monotonic()
        monkey = asyncio.create_task(self._monkey())
        turns = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with turns:
                await self._job(number)

        await asyncio.gather(*(one(number) for number in range(self._count)))
        monkey.cancel()
        await asyncio.gather(monkey, return_exceptions=True)
        for process in (self._world.services, *self._world.gateways):
            if process.running is None:
                process.start()
        await self._all_ended()
        await self._check()
        self._findings.seconds = time.monotonic() - begun
        return self._findings

    async def _job(self, number: int) -> None:
        """Upload or reuse, create with a key until it is told, perhaps cancel, and follow the story to its end."""
        photo = f"photo {number // 3}".encode()  # so that some stages are found done
        session_id = await self._again(lambda stub: world.upload(stub, photo))
        key = f"key-{number}"
        wish = world.spec(session_id, seed=number % 2)
        job = await self._again(lambda stub: world.create(stub, wish, key))
        self._created[key] = job.job_id
        if self._pick.random() < 0.1:
            await asyncio.sleep(self._pick.random())
            cancel = studio_pb2.CancelJobRequest(job_id=job.job_id)
            await self._again(lambda stub: stub.CancelJob(cancel, timeout=60, wait_for_ready=True))
        await self._follow(job.job_id)

    async def _follow(self, job_id: str) -> None:
        """Watch to the end, going on after the last number seen, on whichever replica answers."""
        seen, status = 0, studio_pb2.JOB_STATUS_QUEUED
        while status not in TERMINAL:
            with contextlib.suppress(grpc.aio.AioRpcError):
                request = studio_pb2.WatchJobRequest(job_id=job_id, after_seq=seen)
                stub = self._world.stub(self._pick.randrange(len(self._world.addresses)))
                async for response in stub.WatchJob(request, timeout=30, wait_for_ready=True):
                    if response.event.seq != seen + 1:
                        self._findings.broken_stories += 1
                    seen, status = response.event.seq, response.event.status
            await asyncio.sleep(0.05)

    async def _again(self, call: Any) -> Any:
        """A call that is safe to repeat, until a gateway answers it."""
        while True:
            try:
                return await call(self._world.stub(self._pick.randrange(len(self._world.addresses))))
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
                    raise
                await asyncio.sleep(0.1)

    async def _monkey(self) -> None:
        while True:
            await asyncio.sleep(self._pick.uniform(0.5, 3.0))
            victim: Process = self._pick.choice([*self._world.gateways, *self._world.gateways, self._world.services])
            name = "services" if victim is self._world.services else "gateway"
            how = self._pick.choice([signal.SIGKILL, signal.SIGTERM]) if name == "gateway" else signal.SIGKILL
            if victim.running is None:
                continue
            await victim.stop(how)
            self._findings.kills[f"{name} {how.name}"] += 1
            await asyncio.sleep(self._pick.uniform(0.0, 1.0))
            victim.start()

    async def _all_ended(self) -> None:
        """Wait until no job is open, or until it is clear that some are lost."""
        database = Database(self._url)
        until = time.monotonic() + _PATIENCE
        query = select(func.count()).select_from(jobs)
        is_open = jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
        try:
            while time.monotonic() < until:
                with database.reading() as connection:
                    if connection.execute(query.where(is_open)).scalar_one() == 0:
                        return
                await asyncio.sleep(0.5)
        finally:
            database.close()

    async def _check(self) -> None:
        """Compare jobs, ledger and what the services were asked for."""
        found, database = self._findings, Database(self._url)
        try:
            with database.reading() as connection:
                all_jobs = connection.execute(select(jobs.c.job_id, jobs.c.status, jobs.c.body)).all()
                kinds = select(ledger_transactions.c.transaction_id, ledger_transactions.c.kind)
                settled = dict(tuple(row) for row in connection.execute(kinds))
                total = connection.execute(select(func.sum(ledger_entries.c.amount))).scalar_one()
                held = connection.execute(select(func.sum(balances.c.held))).scalar_one()
                kept = select(stage_results.c.digest, stage_results.c.created_at)
                recorded = {row.digest: row.created_at for row in connection.execute(kept)}
        finally:
            database.close()
        rows = {row.job_id: row.status for row in all_jobs}
        errors = (json.loads(row.body)["error"] for row in all_jobs)
        found.reasons = Counter(f"{error['step']} {error['reason']}" for error in errors if error)
        found.jobs = len(rows)
        found.ended = Counter(rows.values())
        open_jobs = sum(not JobStatus(status).terminal for status in rows.values())
        found.lost = open_jobs + sum(job_id not in rows for job_id in self._created.values())
        found.double_charges = len(rows) - len(set(self._created.values()))
        found.ledger_errors = int(total != 0) + int(held != 0)
        for job_id, status in rows.items():
            wanted = "capture" if status == JobStatus.SUCCEEDED else "release"
            found.ledger_errors += settled.get(f"hold:{job_id}") != "hold"
            found.ledger_errors += settled.get(f"settle:{job_id}") != wanted
        found.reruns = reruns(self._world.calls, recorded)


def reruns(calls: Path, recorded: dict[str, datetime]) -> int:
    """Calls for a stage that began after its result had been kept; jobs that asked at the same moment do not count."""
    count = 0
    for line in calls.read_text().splitlines():
        when, name, digest, _ = line.split()
        kept = recorded.get(digest)
        if (
            name != "DetectObjects"
            and kept is not None
            and datetime.fromtimestamp(float(when), UTC) > kept + _SAME_MOMENT
        ):
            count += 1
    return count
