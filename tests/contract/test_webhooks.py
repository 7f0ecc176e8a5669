"""Webhooks to a real TLS server on this machine, through a made-up internet, on both databases."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import RowMapping, select

from gateway import webhooks
from gateway.store.tables import deliveries
from gateway.webhooks import Sender
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, running_gateway, running_services
from tests.contract.scripted import PATIENCE
from tests.strangers import Answer, Internet, internet, plain

URL = "https://photos.example/hook?a=b"
FAST: dict[str, Any] = {"webhook_poll_seconds": 0.02, "webhook_seconds": 5.0, "webhook_pauses": (0.01,) * 3}
CANCELLED = studio_pb2.JOB_STATUS_CANCELLED


@pytest_asyncio.fixture(loop_scope="session")
async def replies() -> list[bytes]:
    """What the receiver answers, in turn; afterwards 204."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def world(certificate: tuple[Path, Path], replies: list[bytes]) -> AsyncIterator[Internet]:
    """The internet, and one receiver in it."""

    async def answer(_: str, writer: Any) -> None:
        reply = replies.pop(0) if replies else b"204 No Content"
        writer.write(b"HTTP/1.1 %b\r\n\r\n" % reply)
        await writer.drain()

    async with internet(certificate, answer) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def hooked(tmp_path: Path, database_url: str, world: Internet) -> AsyncIterator[Gateway]:
    """A gateway on either database, which knows no other internet."""
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, world.outside(), database_url=database_url, **FAST) as running,
    ):
        yield running


async def rows(gateway: Gateway) -> Sequence[RowMapping]:
    with gateway.store.database.reading() as connection:
        return connection.execute(select(deliveries)).mappings().all()


async def closed(gateway: Gateway, count: int = 1) -> RowMapping:
    """The latest delivery, once ``count`` of them will not be tried again."""
    async with asyncio.timeout(PATIENCE):
        while len(done := [row for row in await rows(gateway) if row["next_at"] is None]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return done[-1]


def headers(head: str) -> dict[str, str]:
    return {name.lower(): value for name, value in re.findall(r"(?m)^([\w-]+): (.*?)\r$", head)}


async def check(gateway: Gateway, world: Internet, number: int = -1) -> dict[str, Any]:
    """Verify a request as a receiver does, and read it."""
    head, body = headers(world.heads[number]), world.bodies[number]
    with gateway.store.database.writing() as connection:
        key = webhooks.secret(connection, "local")
    signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
    expected = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert head["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert abs(datetime.now(UTC).timestamp() - int(head["webhook-timestamp"])) < 300
    assert head["content-type"] == "application/json"
    told: dict[str, Any] = json.loads(body)
    return told


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The vector of its reference libraries."""
    when = datetime.fromtimestamp(1614265330, UTC)
    made = webhooks.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", when, b'{"test": 2432232314}'
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_the_end_of_a_job_is_told_signed_and_once(hooked: Gateway, world: Internet) -> None:
    job = await hooked.make(webhook_url=URL)
    assert job.spec.webhook_url == URL
    row = await closed(hooked)
    assert (row["delivered"], row["attempts"], row["error"], row["account_id"]) == (True, 1, "", "local")
    assert world.touched == [("93.184.215.14", 443, "photos.example")]
    assert world.heads[0].startswith("POST /hook?a=b HTTP/1.1\r\nHost: photos.example\r\n")
    told = await check(hooked, world)
    assert told["type"] == "job.succeeded"
    assert told["timestamp"] == told["data"]["ended_at"]
    for name in ("created_at", "started_at", "ended_at"):
        when = datetime.fromisoformat(told["data"].pop(name))
        assert when == getattr(job, name).ToDatetime(UTC)
    assert told["data"] == {
        "job_id": job.job_id,
        "session_id": job.spec.session_id,
        "status": "succeeded",
        "error": None,
        "credits_used": 75,
        "credits_refunded": 0,
    }
    await hooked.make(seed=1)
    assert len(await rows(hooked)) == 1, "who names no address is told nothing"


async def test_a_cancel_and_a_failure_are_told_too(hooked: Gateway, world: Internet) -> None:
    hooked.services["Render"].held()
    job = await hooked.start(webhook_url=URL)
    await hooked.services["Render"].begun()
    assert (await hooked.cancel(job.job_id)).status == CANCELLED
    await closed(hooked)
    told = await check(hooked, world)
    assert (told["type"], told["data"]["credits_refunded"]) == ("job.cancelled", 75)
    hooked.services["Render"].reset()
    hooked.services["Render"].tweak = lambda result: result.Clear()
    assert (await hooked.finished((await hooked.start(webhook_url=URL)).job_id)).status == studio_pb2.JOB_STATUS_FAILED
    await closed(hooked, 2)
    told = await check(hooked, world)
    assert told["type"] == "job.failed"
    assert told["data"]["error"]["step"] == "rendering-video"
    assert told["data"]["error"]["code"] == "STAGE_PROTOCOL"


@pytest.mark.parametrize(
    "reply", [b"500 Oops", b"404 Not Found", b"302 Found\r\nLocation: https://photos.example/", b"nonsense"]
)
async def test_what_fails_is_tried_again_as_it_was(
    hooked: Gateway, world: Internet, replies: list[bytes], reply: bytes
) -> None:
    replies += [reply, reply]
    await hooked.make(webhook_url=URL)
    row = await closed(hooked)
    assert (row["delivered"], row["attempts"], row["error"]) == (True, 3, "")
    assert len(world.bodies) == 3
    assert len(set(world.bodies)) == 1
    assert len({headers(head)["webhook-id"] for head in world.heads}) == 1
    for number in range(3):
        await check(hooked, world, number)


@pytest.mark.parametrize(("reply", "attempts"), [(b"500 Oops", 4), (b"410 Gone", 1)])
async def test_in_the_end_it_is_given_up(
    hooked: Gateway, world: Internet, replies: list[bytes], reply: bytes, attempts: int
) -> None:
    replies += [reply] * 10
    await hooked.make(webhook_url=URL)
    row = await closed(hooked)
    assert (row["delivered"], row["attempts"], row["error"]) == (False, attempts, f"status {reply[:3].decode()}")
    assert len(world.heads) == attempts


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:10.0.0.1"])
async def test_no_webhook_leads_into_a_private_network(hooked: Gateway, world: Internet, address: str) -> None:
    world.names["photos.example"] = [["93.184.215.14", address]]
    await hooked.make(webhook_url=URL)
    row = await closed(hooked)
    assert (row["delivered"], row["attempts"]) == (False, 4)
    assert "not on the open internet" in row["error"]
    assert world.touched == []


async def test_a_receiver_that_says_nothing_is_left(
    tmp_path: Path, certificate: tuple[Path, Path], database_url: str
) -> None:
    async def never(_: str, __: Any) -> None:
        await asyncio.sleep(PATIENCE)

    changes = FAST | {"webhook_seconds": 0.1, "webhook_pauses": (), "database_url": database_url}
    async with (
        internet(certificate, never) as made,
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, made.outside(), **changes) as gateway,
    ):
        await gateway.make(webhook_url=URL)
        assert (await closed(gateway))["error"] == "no answer within 0.1 s"


async def test_what_was_not_sent_is_sent_after_a_restart(
    tmp_path: Path, certificate: tuple[Path, Path], database_url: str
) -> None:
    broken, works = plain(b"", "503 Service Unavailable"), plain(b"")
    answers: list[Answer] = [broken]

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        await answers[0](head, writer)

    async with internet(certificate, answer) as made, running_services(tmp_path) as services:
        changes: dict[str, Any] = FAST | {"webhook_pauses": (0.5, 0.5, 0.5), "database_url": database_url}
        async with running_gateway(tmp_path, services, made.outside(), **changes) as gateway:
            job = await gateway.make(webhook_url=URL)
            async with asyncio.timeout(PATIENCE):
                while not (await rows(gateway))[0]["error"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        answers[0] = works
        async with running_gateway(tmp_path, services, made.outside(), **changes) as gateway:
            row = await closed(gateway)
            assert (row["delivered"], row["job_id"]) == (True, job.job_id)
            assert row["attempts"] >= 2
            assert (await check(gateway, made))["data"]["job_id"] == job.job_id


async def test_replicas_do_not_send_the_same_twice(hooked: Gateway, world: Internet) -> None:
    others = [Sender(hooked.settings, hooked.store, world.outside()) for _ in range(3)]
    for other in others:
        other.start()
    async with contextlib.AsyncExitStack() as stack:
        for other in others:
            stack.push_async_callback(other.stop)
        session = await hooked.upload()
        jobs = [await hooked.start(webhook_url=URL, seed=seed, session_id=session.session_id) for seed in range(6)]
        for job in jobs:
            await hooked.finished(job.job_id)
        await closed(hooked, len(jobs))
        assert sorted(json.loads(body)["data"]["job_id"] for body in world.bodies) == sorted(job.job_id for job in jobs)
        assert {row["attempts"] for row in await rows(hooked)} == {1}


async def test_what_a_dead_replica_had_claimed_is_sent_by_another(
    tmp_path: Path, world: Internet, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_GRACE_SECONDS", 0.0)
    changes = FAST | {"webhook_poll_seconds": 3600.0, "database_url": database_url}
    async with running_services(tmp_path) as services, running_gateway(tmp_path, services, **changes) as gateway:
        await gateway.make(webhook_url=URL)
        quick = gateway.settings.model_copy(update=FAST | {"webhook_seconds": 0.5})
        dead, alive = (Sender(quick, gateway.store, world.outside()) for _ in range(2))
        (claimed,) = await dead._claim(8)
        assert await alive._claim(8) == []
        alive.start()
        row = await closed(gateway)
        assert (row["delivered"], row["attempts"]) == (True, 2)
        await dead._note(claimed, "too late", again=True)
        assert [dict(after) for after in await rows(gateway)] == [dict(row)]
        await alive.stop()
    assert len(world.bodies) == 1


async def test_a_secret_stays_until_it_is_renewed(hooked: Gateway) -> None:
    async def ask(account: str, *, renew: bool = False) -> str:
        with hooked.store.database.writing() as connection:
            return webhooks.secret(connection, account, renew=renew)

    first = await asyncio.gather(*(ask("acme") for _ in range(8)))
    assert len(set(first)) == 1
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", first[0])
    assert await ask("other") != first[0]
    second = await ask("acme", renew=True)
    assert second != first[0]
    assert await ask("acme") == second
