"""Fetching the heavy models' weights, from a hub of our own that answers as the real one does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from lensora.core import hub, weights
from lensora.core.archives import ModelFetchFailed
from lensora.core.errors import ResourceExhausted
from lensora.core.models import ModelAltered, TermsNotAccepted
from lensora.core.weights import Source, Weights

COMMIT, NEWER = "a" * 40, "b" * 40
LARGE = bytes(range(256)) * 12_000  # 3 MB


@dataclass
class FakeHub:
    """One repository, ``maker/model``; each field is a way in which a hub may behave."""

    files: dict[str, bytes]
    large: set[str] = field(default_factory=lambda: {"model.safetensors"})
    head: str = COMMIT
    cut_after: int | None = None
    """Bytes after which it hangs up in the middle of a large file."""
    swapped: bytes | None = None
    """What it sends instead of a large file."""
    status: int = 200
    listing: dict[str, Any] = field(default_factory=dict)
    """Over the true listing."""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """(path, Range, Authorization)"""
    address: str = ""

    def listed(self) -> dict[str, Any]:
        siblings = []
        for path, data in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
            if path in self.large:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            siblings.append(entry)
        return {"sha": self.head, "siblings": siblings} | self.listing


class Handler(BaseHTTPRequestHandler):
    """Answers for the hub of its server."""

    hub: FakeHub

    def do_GET(self) -> None:
        self.hub.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.hub.status != 200:
            self.send_error(self.hub.status)
        elif re.fullmatch(r"/api/models/maker/model/revision/[\w.-]+\?blobs=true", self.path):
            self._send(json.dumps(self.hub.listed()).encode(), 200)
        elif found := re.fullmatch(rf"/maker/model/resolve/{self.hub.head}/(.+)", self.path):
            self._redirect(found[1]) if found[1] in self.hub.large else self._file(found[1])
        elif found := re.fullmatch("/store/(.+)", self.path):
            self._file(found[1])
        else:
            self.send_error(404)

    def _redirect(self, path: str) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.hub.address}/store/{path}")
        self.end_headers()

    def _file(self, path: str) -> None:
        data, status = self.hub.files[path], 200
        if path in self.hub.large and self.hub.swapped is not None:
            data = self.hub.swapped
        if wanted := self.headers["Range"]:
            data, status = data[int(wanted.removeprefix("bytes=").rstrip("-")) :], 206
        self._send(data, status, self.hub.cut_after if path in self.hub.large else None)

    def _send(self, data: bytes, status: int, cut_after: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # it may have heard enough
            self.wfile.write(data[:cut_after])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with ``tiny``'s repository, and an empty model folder."""
    one = FakeHub({"config.json": b'{"size": 1}', "model.safetensors": LARGE, "README.md": b"not wanted"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": one}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    one.address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", one.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path / "models"))
    tiny = Weights(
        "tiny",
        "matte_birefnet",
        "segment",
        (Source("maker/model", "main", ("*.json", "model.safetensors")),),
        "MIT",
        "-",
    )
    monkeypatch.setattr(weights, "WEIGHTS", {"tiny": tiny})
    monkeypatch.setattr("cli.weights.WEIGHTS", {"tiny": tiny})
    yield one
    server.shutdown()
    thread.join()
    server.server_close()


def fetch() -> list[tuple[str, int]]:
    """Fetch ``tiny``; the files and sizes that were reported."""
    told: list[tuple[str, int]] = []
    weights.fetch("tiny", lambda _, path, done, __: told.append((path, done)), accepted=["tiny"])
    return told


def listing() -> list[str]:
    """What is in the folder of all weights."""
    return sorted(str(path.relative_to(weights.home())) for path in weights.home().rglob("*") if path.is_file())


def test_whole_and_locked(fake: FakeHub) -> None:
    told = fetch()
    assert listing() == ["tiny.lock.json", "tiny/config.json", "tiny/model.safetensors"]
    assert (weights.folder("tiny") / "model.safetensors").read_bytes() == LARGE
    lock = json.loads(weights.lock_file("tiny").read_text())
    assert lock["commits"] == {"maker/model": COMMIT}
    assert lock["files"]["config.json"] == {"size": 11, "sha256": hashlib.sha256(b'{"size": 1}').hexdigest()}
    assert lock["files"]["model.safetensors"]["sha256"] == hashlib.sha256(LARGE).hexdigest()
    assert told[-1] == ("model.safetensors", len(LARGE))
    assert weights.status("tiny") == "present"
    fake.asked.clear()
    fetch()
    assert not fake.asked  # what is whole is left alone


def test_goes_on_where_it_broke_off(fake: FakeHub) -> None:
    fake.cut_after = 1_500_000
    with pytest.raises(ModelFetchFailed, match=r"broke off after 1,500,000 of 3,072,000 bytes"):
        fetch()
    assert weights.status("tiny") == "missing"
    assert not weights.folder("tiny").exists()
    fake.cut_after = None
    fake.asked.clear()
    fetch()
    assert ("/maker/model/resolve/" + COMMIT + "/model.safetensors", "bytes=1500000-", None) in fake.asked
    assert (weights.folder("tiny") / "model.safetensors").read_bytes() == LARGE


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])  # by its SHA-256, and by git's own digest
def test_another_file_than_listed_is_thrown_away(fake: FakeHub, path: str) -> None:
    true = fake.listed()
    fake.listing = {"siblings": true["siblings"]}
    fake.files[path] = fake.files[path][:-1] + b"!"
    with pytest.raises(ModelFetchFailed, match=f"{path} is not the file that the hub lists"):
        fetch()
    assert not any(path in name for name in listing())
    assert weights.status("tiny") == "missing"


def test_more_than_listed_is_never_written(fake: FakeHub) -> None:
    fake.swapped = LARGE + b"more" * 1_000_000
    fetch()
    assert (weights.folder("tiny") / "model.safetensors").read_bytes() == LARGE


def test_first_use_is_trusted_and_nothing_else_after_it(fake: FakeHub) -> None:
    fetch()
    (weights.folder("tiny") / "model.safetensors").unlink()
    assert weights.status("tiny") == "altered"
    fake.files["model.safetensors"] = b"poison" * 1000
    with pytest.raises(ModelFetchFailed, match=r"another file than the one that .*tiny.lock.json names"):
        fetch()
    assert weights.status("tiny") == "altered"
    fake.files["model.safetensors"] = LARGE
    fetch()
    assert weights.status("tiny") == "present"
    assert fake.asked[-1][0].startswith("/store/")
    assert any(f"/revision/{COMMIT}?" in path for path, _, _ in fake.asked)  # the lock's commit, not the branch


def test_altered_behind_our_back(fake: FakeHub) -> None:  # noqa: ARG001
    fetch()
    file = weights.folder("tiny") / "model.safetensors"
    file.write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(ModelAltered, match="lensora models fetch tiny"):
        weights.verify("tiny")
    fetch()
    assert file.read_bytes() == LARGE


def test_no_hub_leaves_nothing(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelFetchFailed, match=r"the model hub http://127.0.0.1:1 cannot be reached .*HF_ENDPOINT"):
        fetch()
    assert not fake.asked
    assert not weights.home().exists()


def test_terms_come_first(fake: FakeHub) -> None:
    with pytest.raises(TermsNotAccepted):
        weights.fetch("tiny", lambda *_: None)
    assert not fake.asked


@pytest.mark.parametrize(
    ("status", "words"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "has no maker/model"), (503, "status 503")]
)
def test_refusals_say_what_to_do(fake: FakeHub, status: int, words: str) -> None:
    fake.status = status
    with pytest.raises(ModelFetchFailed, match=words):
        fetch()
    assert not weights.home().exists()


def test_token_goes_to_the_hub_and_not_to_its_store(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetch()
    sent = {path.split("/")[1]: token for path, _, token in fake.asked}
    assert sent == {"api": "Bearer secret", "maker": "Bearer secret", "store": None}


ENTRY = {"rfilename": "config.json", "size": 1, "blobId": "c" * 40}


@pytest.mark.parametrize(
    "listed",
    [
        {"siblings": [ENTRY | {"rfilename": "../evil"}]},
        {"siblings": [ENTRY | {"rfilename": "/etc/passwd"}]},
        {"siblings": [ENTRY | {"rfilename": "a/../../evil.json"}]},
        {"siblings": [ENTRY | {"rfilename": ".."}]},
        {"siblings": [ENTRY | {"rfilename": "a\\b"}]},
        {"siblings": [ENTRY | {"size": -1}]},
        {"siblings": [ENTRY | {"size": 1 << 60}]},
        {"siblings": [ENTRY | {"size": None}]},
        {"siblings": [ENTRY | {"blobId": "x"}]},
        {"siblings": [ENTRY | {"lfs": {"sha256": "short"}}]},
        {"siblings": []},
        {"siblings": [ENTRY] * (hub.MAX_FILES + 1)},
        {"siblings": "text"},
        {"sha": "main"},
        {"sha": None},
    ],
)
def test_a_listing_is_a_strangers_word(fake: FakeHub, listed: dict[str, Any], tmp_path: Path) -> None:
    fake.listing = listed
    with pytest.raises(ModelFetchFailed, match="in a way that is not understood"):
        fetch()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_none_of_the_files(fake: FakeHub) -> None:
    fake.files = {"README.md": b"moved"}
    with pytest.raises(ModelFetchFailed, match=r"holds none of \*.json"):
        fetch()


def test_disk_too_small(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with pytest.raises(ResourceExhausted, match="LENSORA_MODELS"):
        fetch()
    assert len(fake.asked) == 1


def test_broken_lock(fake: FakeHub) -> None:  # noqa: ARG001
    fetch()
    weights.lock_file("tiny").write_text("{}")
    with pytest.raises(ModelAltered, match="remove it"):
        weights.status("tiny")


def test_command(fake: FakeHub) -> None:
    runner = CliRunner()
    refused = runner.invoke(app, ["models", "fetch", "tiny"], input="n\n")
    assert refused.exit_code == 1 and "MIT" in refused.output and not fake.asked
    accepted = runner.invoke(app, ["models", "fetch", "tiny", "--accept-terms"])
    assert accepted.exit_code == 0 and "whole, in" in accepted.output
    shown = runner.invoke(app, ["models", "list"])
    assert shown.exit_code == 0
    assert re.search(r"tiny\s+matte_birefnet\s+segment\s+maker/model\s+MIT\s+present", shown.output)


def test_every_set_of_weights_serves_a_model() -> None:
    repository = Path(__file__).parents[3] / "model_repository"
    for name, each in weights.WEIGHTS.items():
        configs = [(repository / each.model / file).read_text() for file in ("config.pbtxt", "configs/cpu.pbtxt")]
        assert name == "flux-schnell" or all(f'"{name}"' in config for config in configs)
        assert each.terms and all(re.fullmatch(r"[0-9a-f]{40}|main", source.revision) for source in each.sources)
    assert "non-commercial" in weights.WEIGHTS["trellis-image-large"].terms
    assert "non-commercial" in weights.WEIGHTS["trellis-2-4b"].terms
