"""Server-sent events: every event once, in order, from wherever a browser left off."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import operator
import socket
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from gateway.edge.http import border, events, server
from gateway.store.tables import job_events, jobs
from tests.contract.harness import Gateway, running_gateway, running_services
from tests.contract.http.caller import Caller, answered, calling, events_of, raw, refused
from tests.contract.scripted import PATIENCE, Services


def path_of(job: dict[str, Any]) -> str:
    return f"/v1/studio/jobs/{job['job_id']}/events"


async def test_replay_from_any_number(caller: Caller) -> None:
    job = await caller.make()
    story = await caller.story(path_of(job))
    assert len(story) > 10
    for after in range(len(story)):
        assert await caller.story(path_of(job), **{"Last-Event-ID": str(after)}) == story[after:]


@pytest.mark.parametrize("beyond", [0, 1, 10**6, 2**63 - 1])
async def test_a_browser_that_saw_all_is_told_to_stop_asking(caller: Caller, beyond: int) -> None:
    job = await caller.make()
    last = len(await caller.story(path_of(job)))
    seen = str(min(last + beyond, 2**63 - 1))
    response = await caller.client.get(path_of(job), headers={"Last-Event-ID": seen})
    assert (response.status_code, response.content) == (204, b"")


async def test_a_watcher_resumes_in_the_middle_of_a_running_job(caller: Caller, services: Services) -> None:
    hold = services["Reconstruct"].held()
    accepted = await caller.start()
    first = []
    async with caller.client.stream("GET", accepted["events_url"]) as response:
        async for number, event in events_of(response):
            first.append((number, event))
            if event["step"] == "compositing":
                break
    asked = {"Last-Event-ID": str(first[-1][0])}
    rest = asyncio.create_task(caller.story(accepted["events_url"], **asked))
    await services["Reconstruct"].begun()
    hold.set()
    whole = first + await rest
    assert [number for number, _ in whole] == list(range(1, len(whole) + 1))
    assert whole == await caller.story(accepted["events_url"])


@pytest.mark.parametrize("number", ["-1", "x", "1.5", str(2**63), "9" * 5000])
async def test_a_number_is_one(caller: Caller, number: str) -> None:
    job = await caller.make()
    response = await caller.client.get(path_of(job), headers={"Last-Event-ID": number})
    refused(response, 422, "INVALID_ARGUMENT", "Last-Event-ID")


async def test_an_unknown_job_is_not_found(caller: Caller) -> None:
    for job_id in (str(uuid.uuid4()), "x", "%00"):
        refused(await caller.client.get(f"/v1/studio/jobs/{job_id}/events"), 404, "JOB_NOT_FOUND")


async def test_a_signed_address_ends_after_an_hour(gateway: Gateway, caller: Caller) -> None:
    accepted, now = await caller.start(), gateway.signer._clock()
    for seconds, status in ((3590, 200), (3610, 410)):
        gateway.signer._clock = functools.partial(operator.add, now, seconds)
        async with caller.client.stream("GET", accepted["events_url"]) as response:
            assert response.status_code == status


async def test_silence_is_broken_by_comments(
    caller: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_KEEP_ALIVE_SECONDS", 0.05)
    hold = services["Segment"].held()
    accepted = await caller.start()
    text = ""
    async with caller.client.stream("GET", accepted["events_url"]) as response:
        assert response.headers["cache-control"] == "no-store"
        async for piece in response.aiter_text():
            text += piece
            if text.count(": still here\n\n") >= 3:
                hold.set()
    assert text.startswith("retry: 1000\n\n"), "and the answer begins before the job does"
    assert '"status":"succeeded"' in text


async def test_many_watchers_see_the_same_and_events_are_encoded_once(caller: Caller, services: Services) -> None:
    events.frame.cache_clear()
    hold = services["Segment"].held()
    services["Render"].phases = [(number / 10, "") for number in range(10)]
    accepted = await caller.start()
    watchers = [asyncio.create_task(caller.story(accepted["events_url"])) for _ in range(20)]
    await services["Segment"].begun()
    hold.set()
    stories = await asyncio.gather(*watchers)
    assert all(story == stories[0] for story in stories)
    assert events.frame.cache_info().misses == len(stories[0]) - 1


async def test_a_watcher_that_leaves_disturbs_nobody(gateway: Gateway, caller: Caller, services: Services) -> None:
    hold = services["Segment"].held()
    accepted = await caller.start()
    for _ in range(5):
        async with caller.client.stream("GET", accepted["events_url"]) as response:
            await anext(events_of(response))
    staying = asyncio.create_task(caller.story(accepted["events_url"]))
    await services["Segment"].begun()
    tails = gateway.studio._hub._tails
    await gateway.settled(lambda: accepted["job_id"] not in tails or tails[accepted["job_id"]].watchers != 1)
    hold.set()
    assert (await staying)[-1][1]["status"] == "succeeded"
    await gateway.settled(lambda: gateway.studio._hub._tails)


async def test_watchers_are_sent_on_when_the_process_stops_and_resume_at_the_next(tmp_path: Path) -> None:
    async with running_services(tmp_path) as services, httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        hold = services["Segment"].held()
        async with running_gateway(tmp_path, services) as gateway:
            client.base_url = httpx.URL(gateway.http)
            accepted = await Caller(gateway, client).start()
            watching = asyncio.create_task(Caller(gateway, client).story(accepted["events_url"]))
            await services["Segment"].begun()
            tails = gateway.studio._hub._tails
            await gateway.settled(lambda: accepted["job_id"] not in tails or not tails[accepted["job_id"]].begun)
            await asyncio.sleep(0.2)  # what was read is sent
        seen = await watching
        assert seen[-1][1]["status"] == "running", "the stream ended, the job did not"
        hold.set()
        async with running_gateway(tmp_path, services) as gateway:
            address = gateway.http + "/v1" + accepted["events_url"].partition("/v1")[2]
            seen += await Caller(gateway, client).story(address, **{"Last-Event-ID": str(seen[-1][0])})
        assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
        assert seen[-1][1]["status"] == "succeeded"


async def test_a_caller_that_takes_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = asyncio.Event()
    abort = border._Call._abort

    def told(call: Any) -> None:
        abort(call)
        dropped.set()

    monkeypatch.setattr(border._Call, "_abort", told)
    async with running_services(tmp_path) as own, running_gateway(tmp_path, own, stall_seconds=0.3) as gateway:
        own["Render"].size, own["Render"].to_target = 16_000_000, True
        async with calling(gateway) as caller:
            url = (await caller.make())["outputs"]["video_url"]
            host, _, port = gateway.http.removeprefix("http://").rpartition(":")
            with socket.socket() as lazy:
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                lazy.connect((host, int(port)))
                lazy.sendall(f"GET {url.removeprefix(gateway.http)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                async with asyncio.timeout(PATIENCE):
                    await dropped.wait()
            assert len((await caller.client.get(url)).content) == 16_000_000, "and whoever reads gets it"


async def test_a_head_that_never_ends_is_cut(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.2)
    for part in (b"", b"GET / HTTP/1.1\r\nX: "):
        reader, writer = await raw(gateway, part)
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
    reader, writer = await raw(gateway, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answered(reader))[0] == 404
    writer.close()


async def test_who_watches_a_job_that_another_replica_deletes_is_sent_away(
    gateway: Gateway, caller: Caller, services: Services
) -> None:
    services["Segment"].held()
    accepted = await caller.start()
    watching = asyncio.create_task(caller.story(accepted["events_url"]))
    await services["Segment"].begun()
    await gateway.settled(lambda: accepted["job_id"] not in gateway.studio._hub._tails)
    with gateway.store.database.writing() as connection:
        connection.execute(delete(job_events).where(job_events.c.job_id == accepted["job_id"]))
        connection.execute(delete(jobs).where(jobs.c.job_id == accepted["job_id"]))
    assert all(event["status"] == "running" for _, event in await watching), "the stream ends"
    refused(await caller.client.get(accepted["events_url"]), 404, "JOB_NOT_FOUND")
