"""The blob store keeps its promises on a folder and on a real S3 server alike, down to what the services write."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest

from gateway.blobs import BlobStore, open_store
from lensora.core.blobs import BlobAccess, sha256_hex
from lensora.core.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    LensoraError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from tests import s3

DATA = b"a picture, as far as this test is concerned"


@dataclass
class Place:
    """A store, what a service may do with it, and what there is."""

    blobs: BlobStore
    access: BlobAccess
    reopened: Callable[[float], BlobStore]

    def keys(self) -> list[str]:
        return sorted(meta["path"] for metas in obstore.list(self.blobs._store) for meta in metas)


@pytest.fixture(params=["folder", "s3", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    url = ""
    if request.param != "folder":
        for name, value in s3.environment(request.getfixturevalue(f"{request.param}_server")).items():
            monkeypatch.setenv(name, value)
        url = f"s3://lensora/{uuid.uuid4()}"
    blobs = open_store(url, tmp_path / "blobs", 60.0)
    return Place(blobs, BlobAccess(blobs.prefix), lambda seconds: open_store(url, tmp_path / "blobs", seconds))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """A store on S3 that does not answer."""
    for name, value in s3.environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    return open_store("s3://lensora/x", Path("/nowhere"), 60.0)


def read(place: Place, account: str, data: bytes) -> bytes:
    sha256 = sha256_hex(data)
    return place.access.read(place.blobs.url(account, sha256), sha256, len(data), "image")


def test_the_store_gives_back_what_it_was_given(place: Place) -> None:
    sha256 = place.blobs.put("local", DATA)
    assert sha256 == sha256_hex(DATA) == place.blobs.put("local", DATA)
    with place.blobs.open("local", sha256) as file:
        assert file.read() == DATA
    assert read(place, "local", DATA) == DATA
    assert place.keys() == [f"local/{sha256[:2]}/{sha256}"]


def test_a_blob_is_read_like_a_file(place: Place) -> None:
    data = os.urandom(2_500_000)
    with place.blobs.open("local", place.blobs.put("local", data)) as file:
        assert file.seek(2_000_000) == file.tell() == 2_000_000
        assert file.read(3) + file.read() == data[2_000_000:]
        file.seek(5)
        assert (file.read(10), file.tell()) == (data[5:15], 15)
        assert (file.seek(-4, os.SEEK_END), file.read(), file.read()) == (2_499_996, data[-4:], b"")
        assert (file.seek(3_000_000), file.read()) == (3_000_000, b"")


def test_an_empty_blob_is_one_too(place: Place) -> None:
    with place.blobs.open("local", place.blobs.put("local", b"")) as file:
        assert file.read() == b""
    assert read(place, "local", b"") == b""


def test_accounts_are_apart(place: Place) -> None:
    sha256 = place.blobs.put("alice", DATA)
    assert place.blobs.exists("alice", sha256) and not place.blobs.exists("bob", sha256)
    with pytest.raises(NotFound) as gone:
        place.blobs.open("bob", sha256)
    assert gone.value.reason == "BLOB_GONE"
    with pytest.raises(FailedPrecondition) as missing:
        read(place, "bob", DATA)
    assert missing.value.reason == "BLOB_MISSING"
    assert place.blobs.put("bob", DATA) == sha256
    place.blobs.remove("alice", [sha256])
    assert not place.blobs.exists("alice", sha256) and read(place, "bob", DATA) == DATA


@pytest.mark.parametrize(
    ("account", "sha256"),
    [
        ("..", "a" * 64),
        (".staging", "a" * 64),
        ("", "a" * 64),
        ("a/b", "a" * 64),
        ("a\n", "a" * 64),
        ("local", "a" * 63),
        ("local", "A" * 64),
        ("local", "../" * 21 + "a"),
        ("local", "a" * 64 + "\n"),
    ],
)
def test_a_key_that_is_none_is_a_defect(tmp_path: Path, account: str, sha256: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        open_store("", tmp_path, 60.0).exists(account, sha256)


def test_a_staged_result_is_published_once_it_is_checked(place: Place) -> None:
    data = os.urandom(6_000_000)  # more than S3 clients like to send in one part
    target = place.blobs.new_target()
    place.access.write(target, data, "target")
    assert not place.blobs.exists("local", sha256_hex(data))
    place.blobs.publish("local", target, sha256_hex(data), len(data))
    assert read(place, "local", data) == data
    place.blobs.discard(target)
    assert place.keys() == [f"local/{sha256_hex(data)[:2]}/{sha256_hex(data)}"]


def test_what_is_published_stays_as_it_is_whatever_the_service_still_writes(place: Place) -> None:
    target = place.blobs.new_target()
    place.access.write(target, DATA, "target")
    place.blobs.publish("local", target, sha256_hex(DATA), len(DATA))
    place.access.write(target, b"something else", "target")
    assert read(place, "local", DATA) == DATA
    place.blobs.discard(target)
    assert len(place.keys()) == 1


@pytest.mark.parametrize(
    ("sha256", "size"), [(sha256_hex(b"other"), len(DATA)), (sha256_hex(DATA), len(DATA) + 1), (sha256_hex(DATA), 0)]
)
def test_other_bytes_than_announced_are_not_published(place: Place, sha256: str, size: int) -> None:
    target = place.blobs.new_target()
    place.access.write(target, DATA, "target")
    with pytest.raises(Internal) as wrong:
        place.blobs.publish("local", target, sha256, size)
    assert wrong.value.reason == "BLOB_DIGEST"
    assert place.keys() == [], "neither published nor left in staging"


def test_a_result_that_was_never_written_is_not_published(place: Place) -> None:
    with pytest.raises(Internal, match="did not write") as wrong:
        place.blobs.publish("local", place.blobs.new_target(), sha256_hex(DATA), len(DATA))
    assert wrong.value.reason == "BLOB_DIGEST"


def test_what_is_staged_can_be_read_once_and_discarded(place: Place) -> None:
    target = place.blobs.new_target()
    url = place.blobs.stage(target, DATA)
    assert place.access.read(url, sha256_hex(DATA), len(DATA), "image") == DATA
    for _ in range(2):
        place.blobs.discard(target)
    assert place.keys() == []
    with pytest.raises(FailedPrecondition):
        place.access.read(url, sha256_hex(DATA), len(DATA), "image")


def test_targets_are_fresh(place: Place) -> None:
    targets = [place.blobs.new_target() for _ in range(50)]
    assert len(set(targets)) == 50
    for target in targets:
        place.blobs.discard(target)
    assert place.keys() == []


def test_who_writes_into_a_folder_after_the_discard_leaves_nothing_behind(tmp_path: Path) -> None:
    blobs = open_store("", tmp_path, 60.0)
    target = blobs.new_target()
    blobs.discard(target)
    with pytest.raises(ResourceExhausted):
        BlobAccess(blobs.prefix).write(target, DATA, "target")
    assert list((tmp_path / ".staging").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "announced"),
    [(DATA, b"other bytes, as many as there are there...."), (DATA, DATA[:4]), (DATA, DATA + b".")],
)
def test_a_service_believes_no_size_and_no_digest(place: Place, data: bytes, announced: bytes) -> None:
    url = place.blobs.url("local", place.blobs.put("local", data))
    with pytest.raises(InvalidArgument) as wrong:
        place.access.read(url, sha256_hex(announced), len(announced), "image")
    assert wrong.value.reason == "BLOB_DIGEST"


def test_the_sweep_takes_from_the_staging_area_what_is_old_and_no_more(place: Place) -> None:
    targets = [place.blobs.new_target() for _ in range(3)]
    for target in targets:
        place.access.write(target, DATA, "target")
    sha256 = place.blobs.put("local", DATA)
    place.blobs.sweep_staging(60.0)
    assert len(place.keys()) == 4
    time.sleep(1.1)  # S3 tells times in seconds
    place.blobs.sweep_staging(0.0)
    assert place.keys() == [f"local/{sha256[:2]}/{sha256}"]
    place.blobs.sweep_staging(0.0)


def test_all_blobs_are_listed_and_nothing_else(place: Place) -> None:
    kept = {(account, place.blobs.put(account, data)) for account in ("a", "b") for data in (b"1", b"2", b"3")}
    place.blobs.stage(place.blobs.new_target(), b"4")
    obstore.put(place.blobs._store, "a/a stranger's file", b"5")
    assert {(account, sha256) for account, some in place.blobs.listed() for sha256 in some} == kept
    place.blobs.remove("a", [sha256_hex(b"1"), sha256_hex(b"none such"), sha256_hex(b"3")])
    left = kept - {("a", sha256_hex(b"1")), ("a", sha256_hex(b"3"))}
    assert {(account, sha256) for account, some in place.blobs.listed() for sha256 in some} == left


async def test_a_store_that_works_is_ready(place: Place) -> None:
    await place.blobs.check()
    assert place.keys() == []


async def test_a_store_that_is_down_says_so(nowhere: BlobStore) -> None:
    with pytest.raises(Unavailable) as down:
        await nowhere.check()
    assert down.value.reason == "BLOB_STORE_DOWN"
    sha256 = sha256_hex(DATA)
    for call in (
        lambda: nowhere.put("local", DATA),
        lambda: nowhere.exists("local", sha256),
        lambda: nowhere.open("local", sha256),
        lambda: nowhere.publish("local", nowhere.new_target(), sha256, len(DATA)),
        lambda: nowhere.remove("local", [sha256]),
        lambda: list(nowhere.listed()),
        lambda: nowhere.sweep_staging(0.0),
        lambda: BlobAccess(nowhere.prefix).write(nowhere.new_target(), DATA, "target"),
        lambda: BlobAccess(nowhere.prefix).read(nowhere.url("local", sha256), sha256, len(DATA), "image"),
    ):
        with pytest.raises(Unavailable) as down:
            await asyncio.to_thread(call)
        assert down.value.reason == "BLOB_STORE_DOWN"
    nowhere.discard(nowhere.new_target())


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 64 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_takes_no_more_is_a_typed_error_and_leaves_no_part(tmp_path: Path) -> None:
    blobs = open_store("", tmp_path, 60.0)
    target = blobs.new_target()
    writes: list[Callable[[], str]] = [
        lambda: blobs.put("local", bytes(100_000)),
        lambda: blobs.stage(target, bytes(100_000)),
    ]
    for write in writes:
        with pytest.raises(ResourceExhausted) as full:
            write()
        assert full.value.reason == "BLOB_WRITE" and "\n" not in full.value.message
    blobs.discard(target)
    assert [path for path in tmp_path.rglob("*") if path.name != ".staging"] == []


async def test_a_disk_that_takes_no_folder_is_not_ready(tmp_path: Path) -> None:
    blobs = open_store("", tmp_path, 60.0)
    (tmp_path / ".staging").write_bytes(b"in the way")
    with pytest.raises(LensoraError) as full:
        await blobs.check()
    assert full.value.reason == "BLOB_WRITE"


def test_a_signed_address_is_good_for_one_thing_and_for_a_while(place: Place, s3_server: str) -> None:
    if not place.access.prefix.startswith(f"{s3_server}/lensora/"):
        pytest.skip("a folder signs nothing, and moto checks nothing")
    sha256 = place.blobs.put("local", DATA)
    url = place.blobs.url("local", sha256)
    with pytest.raises(ResourceExhausted, match="403"):
        place.access.write(url, b"other", "target")
    other = url.replace(sha256, sha256_hex(b"other"))
    with pytest.raises(FailedPrecondition, match="403"):
        place.access.read(other, sha256, len(DATA), "image")
    brief = place.reopened(1.0)
    url, target = brief.url("local", sha256), brief.new_target()
    time.sleep(2.1)
    with pytest.raises(FailedPrecondition, match="403"):
        place.access.read(url, sha256, len(DATA), "image")
    with pytest.raises(ResourceExhausted, match="403"):
        place.access.write(target, DATA, "target")
    assert read(place, "local", DATA) == DATA


_WRITER = """
import sys
from pathlib import Path
from gateway.blobs import open_store
blobs = open_store(sys.argv[1], Path(sys.argv[2]), 60.0)
for number in range(10**9):
    data = number.to_bytes(4, "big") * 500_000
    target = blobs.new_target()
    blobs.stage(target, data)
    sha256 = __import__("hashlib").sha256(data).hexdigest()
    blobs.publish("local", target, sha256, len(data))
    blobs.discard(target)
    blobs.put("local", data[:1_000_000])
    print("done", flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_gateway_that_is_killed_while_it_writes_leaves_whole_blobs_and_what_the_sweep_takes(
    place: Place, tmp_path: Path, attempt: int
) -> None:
    url = "" if place.blobs.folder else f"s3://lensora/{place.access.prefix.split('/')[-2]}"
    command = [sys.executable, "-c", _WRITER, url, str(tmp_path / "blobs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2 + attempt):
            assert process.stdout.readline() == b"done\n"
        time.sleep(0.007 * attempt)  # somewhere in the next one
        process.send_signal(signal.SIGKILL)
    time.sleep(1.1)
    place.blobs.sweep_staging(0.0)
    keys = place.keys()
    assert len(keys) >= 2 * (2 + attempt)
    for key in keys:
        account, _, sha256 = key.split("/")
        with place.blobs.open(account, sha256) as file:
            assert sha256_hex(file.read()) == sha256
    if place.blobs.folder is not None:
        assert len([path for path in place.blobs.folder.rglob("*") if path.is_file()]) == len(keys), "nothing hidden"
