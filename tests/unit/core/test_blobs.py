"""Blob access keeps to its folder, believes nothing it is told, and never leaves half a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lensora.core import blobs
from lensora.core.blobs import READ_LIMIT, BlobAccess, file_url, sha256_hex
from lensora.core.errors import FailedPrecondition, InvalidArgument, ResourceExhausted

DATA = b"a picture, as far as this test is concerned"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "blobs"
    folder.mkdir()
    return folder


@pytest.fixture
def access(root: Path) -> BlobAccess:
    return BlobAccess(file_url(root) + "/")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file beside the blob folder, which nobody may reach."""
    file = tmp_path / "secret"
    file.write_bytes(DATA)
    return file


def read(access: BlobAccess, url: str, data: bytes = DATA) -> bytes:
    return access.read(url, sha256_hex(data), len(data), "image")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def outside(root: Path) -> list[str]:
    """URLs that look as if they were in the folder, or try another door."""
    inside, beside = file_url(root), file_url(root.parent)
    return [
        f"{beside}/secret",
        f"{inside}/../secret",
        f"{inside}/%2e%2e/secret",
        f"{inside}/a/..%2f..%2fsecret",
        f"{inside}/link",
        f"{inside}/door/secret",
        f"{inside}-evil/secret",
        inside,
        f"{inside}/",
        f"{inside}/.",
        inside.replace("file://", "file://elsewhere") + "/blob",
        inside.replace("file:", "https:") + "/blob",
        inside.replace("file://", "") + "/blob",
        "",
        "blob",
        f"{inside}/%00",
        f"{inside}/blob%00",
        "file://[::1/blob",
        f"{inside}/loop",
    ]


@pytest.mark.parametrize("number", range(19))
def test_nothing_outside_the_prefix_is_read_or_written(
    access: BlobAccess, root: Path, secret: Path, number: int
) -> None:
    (root / "link").symlink_to(secret)
    (root / "door").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    (root.parent / "blobs-evil").mkdir()
    (root.parent / "blobs-evil" / "secret").write_bytes(DATA)
    url = outside(root)[number]
    with pytest.raises(InvalidArgument) as refused:
        read(access, url)
    assert refused.value.reason == "BLOB_PREFIX" and refused.value.violations[0].field == "image.url"
    with pytest.raises(InvalidArgument, match=r"^target\.url: "):
        access.write(url, b"gotcha", "target")
    assert secret.read_bytes() == DATA


def test_odd_names_and_a_linked_root_are_no_obstacle(root: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    access = BlobAccess(file_url(alias) + "/")
    for name in ("a b", "ümlaut", "100%25", "what?", "#1"):
        url = file_url(root / name)
        access.write(url, DATA, "target")
        assert (root / name).is_file() and read(access, url) == DATA


@pytest.mark.parametrize(
    ("sha256", "size", "reason"),
    [
        (sha256_hex(b"other"), len(DATA), "BLOB_DIGEST"),
        (sha256_hex(DATA).upper(), len(DATA), "BLOB_DIGEST"),
        ("", len(DATA), "BLOB_DIGEST"),
        (sha256_hex(DATA), len(DATA) - 1, "BLOB_DIGEST"),
        (sha256_hex(DATA), len(DATA) + 1, "BLOB_DIGEST"),
        (sha256_hex(DATA[:4]), 4, "BLOB_DIGEST"),
        (sha256_hex(b""), 0, "BLOB_DIGEST"),
        (sha256_hex(DATA), READ_LIMIT, "BLOB_DIGEST"),
        (sha256_hex(DATA), READ_LIMIT + 1, "INVALID_ARGUMENT"),
        (sha256_hex(DATA), 2**62, "INVALID_ARGUMENT"),
        (sha256_hex(DATA), -1, "INVALID_ARGUMENT"),
    ],
)
def test_bytes_must_be_what_was_announced(access: BlobAccess, root: Path, sha256: str, size: int, reason: str) -> None:
    (root / "blob").write_bytes(DATA)
    with pytest.raises(InvalidArgument) as refused:
        access.read(file_url(root / "blob"), sha256, size, "image")
    assert refused.value.reason == reason


def test_an_announced_size_bounds_what_is_read(access: BlobAccess, root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that would not fit into memory
    with pytest.raises(InvalidArgument, match="differ"):
        access.read(file_url(root / "huge"), sha256_hex(DATA), 100, "image")


def test_a_missing_blob_or_a_folder_is_a_failed_precondition(access: BlobAccess, root: Path) -> None:
    (root / "folder").mkdir()
    for name in ("gone", "folder", "n" * 5000):
        with pytest.raises(FailedPrecondition, match="image: cannot be read") as missing:
            read(access, file_url(root / name))
        assert missing.value.reason == "BLOB_MISSING"


def test_a_write_replaces_whole_files_only(access: BlobAccess, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "blob").write_bytes(b"before")
    seen: list[bytes] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.extend((target.read_bytes(), self.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    access.write(file_url(root / "blob"), DATA, "target")
    assert seen == [b"before", DATA], "the old file stands until the new one is whole"
    assert (root / "blob").read_bytes() == DATA and names(root) == ["blob"]


def full_disk(self: Path, data: bytes) -> int:
    with self.open("wb") as file:
        file.write(data[:3])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_a_typed_error_and_leaves_no_part(
    access: BlobAccess, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "blob").write_bytes(b"before")
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ResourceExhausted, match="No space left") as full:
        access.write(file_url(root / "blob"), DATA, "target")
    assert full.value.reason == "BLOB_WRITE"
    assert [file for file in root.rglob("*") if file.is_file()] == [root / "blob"]
    assert (root / "blob").read_bytes() == b"before"


@pytest.mark.parametrize("name", ["folder", "n" * 300, "file/below", "missing/below"])
def test_a_target_that_cannot_be_written_is_a_typed_error(access: BlobAccess, root: Path, name: str) -> None:
    (root / "folder").mkdir()
    (root / "file").write_bytes(b"")
    with pytest.raises(ResourceExhausted) as refused:
        access.write(file_url(root / name), DATA, "target")
    assert refused.value.reason == "BLOB_WRITE"
    assert names(root) == ["file", "folder"]


def test_the_inline_limit_is_the_contract_s() -> None:
    assert blobs.INLINE_LIMIT == 262_144


@pytest.mark.parametrize("prefix", ["", "/var/blobs/", "file:///blobs", "https://store.test/blobs", "s3://bucket/"])
def test_a_prefix_that_bounds_nothing_is_none(prefix: str) -> None:
    with pytest.raises(ValueError, match="a blob prefix is"):
        BlobAccess(prefix)
