"""GetJob, ListJobs, DownloadArtifact."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import grpc
import pytest

from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, collect, refused, running_gateway, spec_of
from tests.contract.scripted import PATIENCE, Services

INVALID = grpc.StatusCode.INVALID_ARGUMENT
VIDEO = studio_pb2.ARTIFACT_KIND_VIDEO
CHUNK = 256 * 1024


async def listed(gateway: Gateway, **values: Any) -> studio_pb2.ListJobsResponse:
    answer: studio_pb2.ListJobsResponse = await gateway.stub.ListJobs(
        studio_pb2.ListJobsRequest(**values), timeout=PATIENCE
    )
    return answer


async def test_jobs_are_listed_in_pages_newest_first(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services) as gateway:
        assert await listed(gateway) == studio_pb2.ListJobsResponse()
        services["Segment"].held()
        session = await gateway.upload()
        jobs = [(await gateway.create(spec_of(session.session_id, seed=seed))).job_id for seed in range(7)]
        for page_size in (1, 2, 3, 7, 8, 100, 0):
            seen, token, pages = [], "", 0
            while True:
                page = await listed(gateway, page_size=page_size, page_token=token)
                seen += [job.job_id for job in page.jobs]
                token, pages = page.next_page_token, pages + 1
                if not token:
                    break
            assert seen == jobs[::-1]
            assert pages == -(-7 // (page_size or 20)), "and no empty last page"
        first = await listed(gateway, page_size=2)
        newer = await gateway.create(spec_of(session.session_id))
        second = await listed(gateway, page_size=2, page_token=first.next_page_token)
        assert [job.job_id for job in second.jobs] == [jobs[4], jobs[3]], "a new job moves no page"
        assert (await listed(gateway, page_size=1)).jobs[0].job_id == newer.job_id


@pytest.mark.parametrize("page_size", [-1, 101, 2**31 - 1])
async def test_page_size_has_bounds(gateway: Gateway, page_size: int) -> None:
    error = await refused(listed(gateway, page_size=page_size), INVALID)
    assert [violation.field for violation in error.violations] == ["page_size"]


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "٣", " 1", "1;"])
async def test_a_token_is_one_of_ours(gateway: Gateway, token: str) -> None:
    error = await refused(listed(gateway, page_token=token), INVALID)
    assert [violation.field for violation in error.violations] == ["page_token"]


async def test_a_token_past_the_end_gives_nothing(gateway: Gateway) -> None:
    await gateway.make()
    assert not (await listed(gateway, page_token=str(0))).jobs
    assert (await listed(gateway, page_token="9" * 500)).jobs


async def test_a_download_comes_in_chunks_and_resumes_anywhere(gateway: Gateway, services: Services) -> None:
    services["Render"].size, services["Render"].to_target = 600_000, True
    job = await gateway.make()
    head, *rest = await gateway.download(job.job_id, VIDEO)
    artifact = next(item for item in job.artifacts if item.kind == VIDEO)
    artifact.url = ""  # only jobs tell it
    assert head == studio_pb2.DownloadArtifactResponse(artifact=artifact)
    assert [len(message.chunk) for message in rest] == [CHUNK, CHUNK, 600_000 - 2 * CHUNK]
    assert not any(message.HasField("artifact") for message in rest)
    whole = b"".join(message.chunk for message in rest)
    assert hashlib.sha256(whole).hexdigest() == artifact.sha256
    for offset in (1, CHUNK - 1, CHUNK, 599_999, 600_000):
        head, *rest = await gateway.download(job.job_id, VIDEO, offset)
        assert head.artifact == artifact
        assert b"".join(message.chunk for message in rest) == whole[offset:]


async def test_a_bad_request_for_a_download_names_the_field(gateway: Gateway, services: Services) -> None:
    services["Render"].size = 600_000
    job = await gateway.make()
    for offset in (-1, 600_001, 2**62, -(2**63)):
        error = await refused(gateway.download(job.job_id, VIDEO, offset), INVALID)
        assert [violation.field for violation in error.violations] == ["offset"]
        assert "600000" in error.message
    unknown: Any = 99
    for kind in (studio_pb2.ARTIFACT_KIND_UNSPECIFIED, unknown):
        error = await refused(gateway.download(job.job_id, kind), INVALID)
        assert [violation.field for violation in error.violations] == ["kind"]


async def test_a_job_that_did_not_succeed_has_no_artifacts(gateway: Gateway, services: Services) -> None:
    services["Render"].held()
    job = await gateway.start()
    await gateway.until(job.job_id, studio_pb2.STEP_REMOVING_BG, studio_pb2.STEP_STATE_DONE)
    for _ in range(2):
        await refused(
            gateway.download(job.job_id, studio_pb2.ARTIFACT_KIND_CUTOUT),
            grpc.StatusCode.FAILED_PRECONDITION,
            "JOB_NOT_SUCCEEDED",
        )
        await gateway.cancel(job.job_id)


async def test_bytes_that_are_gone_are_told(gateway: Gateway) -> None:
    job = await gateway.make()
    sha256 = next(item.sha256 for item in job.artifacts if item.kind == VIDEO)
    gateway.blobs.remove("local", [sha256])
    await refused(gateway.download(job.job_id, VIDEO), grpc.StatusCode.NOT_FOUND, "BLOB_GONE")


def opened(name: str) -> list[str]:
    """What this process has open of that name."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    return [link for link in links if link.endswith(name)]


async def test_a_caller_that_leaves_a_download_holds_nothing(gateway: Gateway, services: Services) -> None:
    services["Render"].size = 20_000_000
    job = await gateway.make()
    request = studio_pb2.DownloadArtifactRequest(job_id=job.job_id, kind=VIDEO)
    stream = gateway.stub.DownloadArtifact(request, timeout=PATIENCE)
    assert (await anext(aiter(stream))).artifact.size == 20_000_000
    sha256 = next(item.sha256 for item in job.artifacts if item.kind == VIDEO)
    assert opened(sha256), "too much to be on its way already"
    stream.cancel()
    await gateway.settled(lambda: opened(sha256))
    assert len(await collect(gateway.stub.DownloadArtifact(request, timeout=PATIENCE))) == 78
