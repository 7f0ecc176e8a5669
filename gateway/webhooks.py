"""Webhooks: the terminal state of a job, signed and sent to the address that its caller named.

The signature is that of Standard Webhooks 1.0 (standardwebhooks.com), so any of its libraries can check it. What is to
be sent is stored in the transaction that ends the job, and sent by whichever replica claims it; it may arrive more
than once, with the same ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Update, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from gateway.model import Job
from gateway.settings import Settings
from gateway.store import Store, in_thread
from gateway.store.tables import deliveries, webhook_secrets
from lensora.core.errors import InvalidArgument
from lensora.core.links import parse
from lensora.core.outside import Outside, Request

_log = structlog.get_logger()

_PREFIX = "whsec_"
_SECRET_BYTES = 32
_GONE = 410
_MAX_AT_ONCE = 16
_GRACE_SECONDS = 10.0
"""Beyond its time limit, until another replica may think that an attempt's replica is gone."""


def secret(connection: Connection, account: str, *, renew: bool = False) -> str:
    """What the account's webhooks are signed with, made when first asked for: ``whsec_`` and base64."""
    fresh = _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"account_id": account, "secret": fresh, "created_at": datetime.now(UTC)}
    make = dialect.insert(webhook_secrets).values(row)
    if renew:
        make = make.on_conflict_do_update(index_elements=["account_id"], set_=row)
    else:
        make = make.on_conflict_do_nothing()
    connection.execute(make)
    query = select(webhook_secrets.c.secret).where(webhook_secrets.c.account_id == account)
    return str(connection.execute(query).scalar_one())


def sign(key: str, delivery_id: str, when: datetime, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks.

    Args:
        key: ``whsec_`` and base64.
        delivery_id: the same at every attempt.
        when: of this attempt.
        body: what is sent, to the byte.
    """
    seconds = str(int(when.timestamp()))
    signed = b".".join((delivery_id.encode(), seconds.encode(), body))
    digest = hmac.digest(base64.b64decode(key.removeprefix(_PREFIX)), signed, hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery_id, "webhook-timestamp": seconds, "webhook-signature": signature}


def payload(job: Job) -> bytes:
    """What is sent about a job that has ended: JSON, the same at every attempt."""
    error = job.error and {"step": job.error.step, "code": job.error.reason, "message": job.error.message}
    data = {
        "job_id": job.job_id,
        "session_id": str(job.options.session_id),
        "status": job.status,
        "error": error,
        "credits_used": job.price,
        "credits_refunded": job.refunded,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
    }
    return json.dumps({"type": f"job.{job.status}", "timestamp": _time(job.ended_at), "data": data}).encode()


def announce(connection: Connection, job: Job) -> None:
    """Have the end of a job told to the address that it names, if it names one; in the transaction that ends it."""
    if job.options.webhook_url is None:
        return
    row = {
        "delivery_id": str(uuid.uuid4()),
        "account_id": job.account_id,
        "job_id": job.job_id,
        "url": job.options.webhook_url,
        "next_at": datetime.now(UTC),
    }
    connection.execute(insert(deliveries).values(row))


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One attempt that is this replica's to make."""

    delivery_id: str
    account_id: str
    job_id: str
    url: str
    attempts: int
    """This one counted."""


class Sender:
    """Sends what is due; any number of replicas may do so at the same time.

    Args:
        settings: of the gateway.
        store: the tables.
        outside: the internet; the real one unless a test brings its own.
    """

    def __init__(self, settings: Settings, store: Store, outside: Outside | None = None) -> None:
        self._settings, self._store, self._outside = settings, store, outside or Outside()
        self.database = store.database
        self._sending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave what is not sent yet to the next start, or to another replica."""
        tasks = [task for task in (self._task, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                for delivery in await self._claim(_MAX_AT_ONCE - len(self._sending)):
                    task = asyncio.create_task(self._send(delivery))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)
            except DBAPIError as error:
                _log.error("webhooks cannot be read", error=type(error.orig).__name__)
            await asyncio.sleep(self._settings.webhook_poll_seconds)

    @in_thread
    def _claim(self, limit: int) -> list[_Delivery]:
        """Take what is due, so that no other replica does before this one must have come to an end with it."""
        now = datetime.now(UTC)
        due = select(deliveries.c.delivery_id, deliveries.c.attempts).where(deliveries.c.next_at <= now)
        with self.database.reading() as connection:
            found = connection.execute(due.order_by(deliveries.c.next_at).limit(limit)).all()
        until = now + timedelta(seconds=self._settings.webhook_seconds + _GRACE_SECONDS)
        claimed = []
        for delivery_id, attempts in found:
            take = _of(delivery_id, attempts).values(next_at=until, attempts=attempts + 1)
            with self.database.writing() as connection:
                columns = (deliveries.c[name] for name in _Delivery.__slots__)
                row = connection.execute(take.returning(*columns)).first()
            if row is not None:  # else another replica was faster
                claimed.append(_Delivery(*row))
        return claimed

    async def _send(self, delivery: _Delivery) -> None:
        log = _log.bind(account=delivery.account_id, job_id=delivery.job_id, attempt=delivery.attempts)
        try:
            job = await self._store.job(delivery.account_id, delivery.job_id)
            failure, again = ("the job was deleted", False) if job is None else await self._attempt(delivery, job)
            await self._note(delivery, failure, again=again)
        except DBAPIError as error:  # it is due again once its claim has run out
            failure = f"database: {type(error.orig).__name__}"
        if failure:
            log.warning("webhook failed", error=failure)
        else:
            log.info("webhook sent")

    async def _attempt(self, delivery: _Delivery, job: Job) -> tuple[str, bool]:
        """What went wrong, nothing if nothing did, and whether to try again."""
        key = await self._secret(delivery.account_id)
        body = payload(job)
        headers = {
            "Content-Type": "application/json",
            **sign(key, delivery.delivery_id, datetime.now(UTC), body),
        }
        try:
            link = parse(delivery.url, "webhook_url")
            async with asyncio.timeout(self._settings.webhook_seconds):
                async with self._outside.ask(Request(link, "webhook_url", headers, "POST", body)) as answer:
                    status = answer.status
        except TimeoutError:
            return f"no answer within {self._settings.webhook_seconds:g} s", True
        except InvalidArgument as error:
            return error.message, True
        return ("", False) if 200 <= status < 300 else (f"status {status}", status != _GONE)

    @in_thread
    def _secret(self, account: str) -> str:
        with self.database.writing() as connection:
            return secret(connection, account)

    @in_thread
    def _note(self, delivery: _Delivery, failure: str, *, again: bool) -> None:
        """Store how an attempt ended, unless another replica has taken over meanwhile."""
        pauses = self._settings.webhook_pauses
        next_at = None
        if failure and again and delivery.attempts <= len(pauses):
            pause = pauses[delivery.attempts - 1] * random.uniform(1.0, 1.1)  # noqa: S311 - so that not all come at once
            next_at = datetime.now(UTC) + timedelta(seconds=pause)
        change: dict[str, Any] = {"delivered": not failure, "error": failure, "next_at": next_at}
        with self.database.writing() as connection:
            connection.execute(_of(delivery.delivery_id, delivery.attempts).values(change))


def _of(delivery_id: str, attempts: int) -> Update:
    """A change of one delivery, if it was attempted so often."""
    return update(deliveries).where(deliveries.c.delivery_id == delivery_id, deliveries.c.attempts == attempts)


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat().replace("+00:00", "Z")
