"""The client for programs without an event loop; it decides nothing, so this is about waiting and letting go."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lensora.client import JobFailed, Studio
from lensora.core.errors import InvalidArgument, NotFound
from tests.contract.harness import Gateway

CLIENT = "lensora-client"


def threads() -> int:
    return sum(thread.name == CLIENT for thread in threading.enumerate())


async def test_a_job_is_left_and_found_again_and_cancelled(gateway: Gateway) -> None:
    gateway.services["Render"].held()

    def program() -> tuple[list[int], str]:
        with Studio(url=gateway.http) as studio:
            job = studio.init(gateway.photo).transform(background="a table", camera="dolly")
            seen = []
            for event in job.watch():
                seen.append(event.seq)
                if event.step == "rendering-video":
                    break
            same = studio.job(job.job_id)
            assert same.status().status == "running"
            assert same.cancel().credits_refunded == 75
            seen += [event.seq for event in same.watch(seen[-1])]
            with pytest.raises(JobFailed) as caught:
                same.result()
            with pytest.raises(NotFound):
                studio.job("0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c11").status()
            return seen, caught.value.reason

    seen, reason = await asyncio.to_thread(program)
    assert seen == list(range(1, len(seen) + 1))
    assert reason == "JOB_CANCELLED"
    assert threads() == 0


async def test_what_is_wrong_from_the_start_leaves_no_thread() -> None:
    with pytest.raises(InvalidArgument):
        Studio(url="nowhere")
    assert threads() == 0
