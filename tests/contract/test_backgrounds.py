"""The two backgrounds that are pictures: what is accepted, kept, handed on, and used again."""

from __future__ import annotations

import hashlib
import io
import os

import grpc
import pytest
from PIL import Image
from sqlalchemy import select

from gateway.store.tables import jobs
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, refused, spec_of
from tests.contract.scripted import Services

LINK = "https://photos.example/a.jpg"


def png(extra: int = 0) -> bytes:
    """A small picture, in a file padded by ``extra`` bytes that no viewer looks at."""
    file = io.BytesIO()
    Image.new("RGB", (64, 40), "teal").save(file, "PNG")
    return file.getvalue() + os.urandom(extra)


async def test_a_link_goes_to_the_background_service_as_it_is(gateway: Gateway, services: Services) -> None:
    job = await gateway.make(background=studio_pb2.Background(url=LINK))
    assert job.spec.background == studio_pb2.Background(url=LINK)
    assert services["BuildScene"].calls[0].request.backdrop.url == LINK


async def test_a_link_is_fetched_anew_and_the_rest_used_again(gateway: Gateway, services: Services) -> None:
    """The scripted service makes the same scene of the same link, as a server that changed nothing would."""
    await gateway.make(background=studio_pb2.Background(url=LINK))
    again = await gateway.make(background=studio_pb2.Background(url=LINK))
    assert services.counts()["BuildScene"] == 2
    assert {name: services.counts()[name] for name in ("Compose", "Render")} == {"Compose": 1, "Render": 1}
    reused = {record.step: record.reused for record in again.steps}
    assert not reused.pop(studio_pb2.STEP_GENERATING_BG) and all(reused.values())


async def test_a_picture_is_kept_as_a_blob_and_never_in_a_row(gateway: Gateway, services: Services) -> None:
    data = png(extra=MAX_FILE_BYTES - 1000)
    job = await gateway.make(background=studio_pb2.Background(picture=data))
    assert job.spec.background.WhichOneof("kind") == "picture" and not job.spec.background.picture
    blob = services["BuildScene"].calls[0].request.backdrop.picture
    assert (blob.sha256, blob.size) == (hashlib.sha256(data).hexdigest(), len(data))
    with gateway.blobs.open("local", blob.sha256) as file:
        assert file.read() == data
    with gateway.store.database.reading() as connection:
        body = connection.execute(select(jobs.c.body).where(jobs.c.job_id == job.job_id)).scalar_one()
    assert len(body) < 20_000 and blob.sha256 in body


async def test_the_same_picture_makes_no_second_scene(gateway: Gateway, services: Services) -> None:
    data = png()
    await gateway.make(background=studio_pb2.Background(picture=data))
    again = await gateway.make(background=studio_pb2.Background(picture=data))
    assert services.counts()["BuildScene"] == 1 and all(record.reused for record in again.steps)
    await gateway.make(background=studio_pb2.Background(picture=png(extra=1)))
    assert services.counts()["BuildScene"] == 2


@pytest.mark.parametrize(
    ("field", "background", "rule"),
    [
        ("background.url", studio_pb2.Background(url=""), "https://"),
        ("background.url", studio_pb2.Background(url="http://photos.example/a.jpg"), "https://"),
        ("background.url", studio_pb2.Background(url="https://me:secret@photos.example/"), "password"),
        ("background.url", studio_pb2.Background(url="https://2130706433/"), "number"),
        ("background.url", studio_pb2.Background(url=LINK + "a" * 2048), "2048"),
        ("background.picture", studio_pb2.Background(picture=b""), "empty"),
        ("background.picture", studio_pb2.Background(picture=b"GIF89a"), "a GIF"),
        ("background.picture", studio_pb2.Background(picture=png(extra=MAX_FILE_BYTES)), "at most 20 MB"),
    ],
)
async def test_a_broken_rule_names_the_field(
    gateway: Gateway, services: Services, field: str, background: studio_pb2.Background, rule: str
) -> None:
    session = await gateway.upload()
    spec = spec_of(session.session_id, background=background)
    error = await refused(gateway.create(spec), grpc.StatusCode.INVALID_ARGUMENT)
    assert [violation.field for violation in error.violations] == [field]
    assert rule in error.message
    assert "BuildScene" not in services.counts()


async def test_a_picture_of_nobodys_session_is_not_kept(gateway: Gateway) -> None:
    data = png(extra=16)
    spec = spec_of("2a91884c-1bb5-44e3-a6e0-7db0a5a56660", background=studio_pb2.Background(picture=data))
    await refused(gateway.create(spec), grpc.StatusCode.NOT_FOUND)
    assert not gateway.blobs.exists("local", hashlib.sha256(data).hexdigest())
