"""What a service believes of a blob store over HTTP, and where it goes: nowhere but where its prefix says."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from lensora.core import remote
from lensora.core.blobs import BlobAccess, sha256_hex
from lensora.core.errors import FailedPrecondition, InvalidArgument, LensoraError, ResourceExhausted, Unavailable

DATA = b"a picture, as far as this test is concerned"


class Handler(http.server.BaseHTTPRequestHandler):
    """Does what the name of the object says, and notes all that it was asked."""

    seen: list[tuple[str, str, dict[str, str], bytes]]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        """Take the body."""
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        """Give an object."""
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.seen.append((self.command, self.path, dict(self.headers), body))
        name = self.path.partition("?")[0].rpartition("/")[2]
        status = int(name) if name.isdigit() else 200
        sent = {"endless": b"", "short": DATA[:-1], "long": DATA * 1000}.get(name, DATA)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path.replace("302", "blob"))
        if name != "endless":
            self.send_header("Content-Length", str(len(sent) + (name == "cut")))
        self.end_headers()
        self.close_connection = True
        try:
            while name == "endless":
                self.wfile.write(bytes(65536))
            self.wfile.write(sent)
        except OSError:
            pass  # the other side has had enough


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Handler.seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def access(server: http.server.ThreadingHTTPServer) -> BlobAccess:
    return BlobAccess(f"http://127.0.0.1:{server.server_port}/bucket/")


def read(access: BlobAccess, url: str) -> bytes:
    return access.read(url, sha256_hex(DATA), len(DATA), "image")


def test_one_request_and_no_more_than_the_address_in_it(access: BlobAccess) -> None:
    assert read(access, f"{access.prefix}local/aa/blob?X-Signature=abc%2F") == DATA
    access.write(f"{access.prefix}.staging/0f/blob?X-Signature=def", DATA, "target")
    (get, got, headers, _), (put, written, _, body) = Handler.seen
    assert (get, got) == ("GET", "/bucket/local/aa/blob?X-Signature=abc%2F")
    assert (put, written, body) == ("PUT", "/bucket/.staging/0f/blob?X-Signature=def", DATA)
    assert set(headers) == {"Host", "Accept-Encoding", "User-Agent"}, "no credentials"


def test_a_proxy_of_the_environment_is_not_asked(access: BlobAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert read(access, f"{access.prefix}blob") == DATA


@pytest.mark.parametrize(
    "change",
    [
        lambda prefix: prefix.replace("/bucket/", "/bucket-evil/") + "blob",
        lambda prefix: prefix.replace("/bucket/", "/") + "blob",
        lambda prefix: prefix.replace("http://", "http://user:secret@") + "blob",
        lambda prefix: prefix.replace("http://", "https://") + "blob",
        lambda prefix: prefix.replace("127.0.0.1", "127.0.0.2") + "blob",
        lambda prefix: prefix.replace("/bucket/", "0/bucket/") + "blob",
        lambda prefix: prefix.replace("/bucket/", "@evil.test/bucket/") + "blob",
        lambda prefix: prefix + "../secret/blob",
        lambda prefix: prefix + "a/../../secret",
        lambda prefix: prefix + "a/%2e%2e/%2e%2e/secret",
        lambda prefix: prefix + "a%2f..%2fsecret",
        lambda prefix: prefix + "a\\..\\secret",
        lambda prefix: prefix + "/evil.test/blob",
        lambda prefix: prefix + "blob#?fragment",
        lambda prefix: prefix + "blob?a=b\r\nX-Evil: 1",
        lambda prefix: prefix + "blob HTTP/1.1",
        lambda prefix: prefix + "blöb",
        lambda prefix: prefix + "blob?" + "a" * 9000,
        lambda prefix: prefix,
        lambda prefix: prefix.removesuffix("/"),
        lambda _: "file:///etc/passwd",
        lambda _: "",
    ],
)
def test_nothing_outside_the_prefix_is_asked_for(access: BlobAccess, change: object) -> None:
    assert callable(change)
    url = change(access.prefix)
    for call in (lambda: read(access, url), lambda: access.write(url, DATA, "image")):
        with pytest.raises(InvalidArgument) as refused:
            call()
        assert refused.value.reason == "BLOB_PREFIX" and refused.value.violations[0].field == "image.url"
    assert Handler.seen == []


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("302", FailedPrecondition, "BLOB_MISSING"),
        ("403", FailedPrecondition, "BLOB_MISSING"),
        ("404", FailedPrecondition, "BLOB_MISSING"),
        ("204", FailedPrecondition, "BLOB_MISSING"),
        ("429", Unavailable, "BLOB_STORE_DOWN"),
        ("500", Unavailable, "BLOB_STORE_DOWN"),
        ("503", Unavailable, "BLOB_STORE_DOWN"),
        ("short", InvalidArgument, "BLOB_DIGEST"),
        ("long", InvalidArgument, "BLOB_DIGEST"),
        ("endless", InvalidArgument, "BLOB_DIGEST"),
    ],
)
def test_what_cannot_be_read_is_a_typed_error(
    access: BlobAccess, name: str, kind: type[LensoraError], reason: str
) -> None:
    with pytest.raises(kind) as refused:
        read(access, access.prefix + name)
    assert refused.value.reason == reason
    assert len(Handler.seen) == 1, "no redirect is followed, nothing tried twice"


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("302", ResourceExhausted, "BLOB_WRITE"),
        ("403", ResourceExhausted, "BLOB_WRITE"),
        ("507", Unavailable, "BLOB_STORE_DOWN"),
    ],
)
def test_what_cannot_be_written_is_a_typed_error(
    access: BlobAccess, name: str, kind: type[LensoraError], reason: str
) -> None:
    with pytest.raises(kind) as refused:
        access.write(access.prefix + name, DATA, "target")
    assert refused.value.reason == reason
    assert len(Handler.seen) == 1


def test_a_store_that_is_too_slow_is_down(access: BlobAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.0)
    with pytest.raises(Unavailable) as slow:
        read(access, f"{access.prefix}blob")
    assert slow.value.reason == "BLOB_STORE_DOWN"


def test_a_store_that_is_not_there_is_down() -> None:
    nowhere = BlobAccess("http://127.0.0.1:9/bucket/")
    for call in (lambda: read(nowhere, nowhere.prefix + "a"), lambda: nowhere.write(nowhere.prefix + "a", DATA, "x")):
        with pytest.raises(Unavailable):
            call()
