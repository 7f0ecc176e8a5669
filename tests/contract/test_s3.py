"""Whole jobs over a real S3 server: services read and write by signed addresses and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from gateway.blobs import open_store
from lensora.core.blobs import sha256_hex
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import blob_pb2
from tests import s3
from tests.contract.harness import Gateway, keys_of, refused, running_gateway, running_services, spec_of
from tests.contract.scripted import JOB_METHODS, blobs_of, messages


@pytest.fixture
def door(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Door]:
    """The S3 server as the gateway and the services see it."""
    with s3.Door(s3_server).serving() as door:
        for name, value in s3.environment(door.endpoint).items():
            monkeypatch.setenv(name, value)
        yield door


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(door: s3.Door, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway and services over a prefix of their own; every result travels by its target."""
    assert door
    url = f"s3://lensora/{uuid.uuid4()}"
    prefix = open_store(url, tmp_path, 60.0).prefix
    async with running_services(prefix) as services:
        for method in ("DetectObjects", *JOB_METHODS):
            services[method].to_target = True
        async with running_gateway(tmp_path, services, blobs_url=url, retry_seconds=0.2) as running:
            yield running


async def content(gateway: Gateway, job_id: str, kind: studio_pb2.ArtifactKind.ValueType, offset: int = 0) -> bytes:
    return b"".join(message.chunk for message in await gateway.download(job_id, kind, offset))


async def test_a_job_from_photo_to_film(gateway: Gateway, door: s3.Door) -> None:
    gateway.services["Render"].size = 700_000
    job = await gateway.make()
    for artifact in job.artifacts:
        whole = await content(gateway, job.job_id, artifact.kind)
        assert sha256_hex(whole) == artifact.sha256
    video = studio_pb2.ARTIFACT_KIND_VIDEO
    whole = await content(gateway, job.job_id, video)
    assert len(whole) == 700_000
    assert await content(gateway, job.job_id, video, offset=699_990) == whole[699_990:]
    assert not [key for key in keys_of(gateway.blobs) if not key.startswith("local/")], "staging is empty"
    urls = []
    for name in ("DetectObjects", *JOB_METHODS):
        request = gateway.services[name].calls[0].request
        urls += [blob.url for blob in blobs_of(request)]
        urls += [target.url for target in messages(request, blob_pb2.BlobTarget)]
    assert len(urls) >= 12 and all(url.startswith(f"{door.endpoint}/lensora/") for url in urls)
    assert all("X-Amz-Signature=" in url and "X-Amz-Expires=1800" in url for url in urls)
    assert not list(gateway.settings.home.rglob("*blob*")), "nothing is kept beside the store"


async def test_a_second_job_uses_what_is_there(gateway: Gateway) -> None:
    first = await gateway.make()
    keys = keys_of(gateway.blobs)
    again = await gateway.finished((await gateway.create(first.spec)).job_id)
    assert all(record.reused for record in again.steps)
    assert keys_of(gateway.blobs) == keys


async def test_a_store_that_is_down_for_a_moment_delays_a_job(gateway: Gateway, door: s3.Door) -> None:
    hold = gateway.services["Segment"].held()
    session = await gateway.upload()
    job = await gateway.create(spec_of(session.session_id))
    await gateway.services["Segment"].begun()
    door.shut()
    hold.set()
    await gateway.services["Segment"].begun(2)
    door.open()
    assert (await gateway.finished(job.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED
    gateway.blobs.sweep_staging(-2.0)  # what could not be discarded then; S3 tells times in seconds
    assert gateway.staged() == []


async def test_a_store_that_stays_down_fails_the_job_and_refunds_it(gateway: Gateway, door: s3.Door) -> None:
    session = await gateway.upload()
    before, _ = await gateway.studio.credits("local")
    door.shut()
    job = await gateway.create(spec_of(session.session_id))
    ended = await gateway.finished(job.job_id)
    assert (ended.status, ended.error.reason) == (studio_pb2.JOB_STATUS_FAILED, "BLOB_STORE_DOWN")
    assert (await gateway.studio.credits("local"))[0] == before
    photo = [studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions())]
    photo.append(studio_pb2.CreateSessionRequest(chunk=b"another photo"))
    await refused(gateway.stub.CreateSession(photo), grpc.StatusCode.UNAVAILABLE, "BLOB_STORE_DOWN")
    assert (await gateway.studio.credits("local"))[0] == before
    door.open()
    assert (await gateway.make()).status == studio_pb2.JOB_STATUS_SUCCEEDED
    assert [key for key in gateway.staged() if "sealed" in key] == []
