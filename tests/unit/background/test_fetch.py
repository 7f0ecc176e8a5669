"""Links of strangers: where they may lead, what they may cost. Nothing leaves the machine.

Names are answered by a table, and every connection that is let through goes to one TLS server on this machine, whatever
its numeric address says; so the tests see which addresses would have been touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lensora.core.addresses import is_public
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.outside import Streams
from services.background.core.fetch import MAX_REDIRECTS, Fetcher

PUBLIC = "93.184.215.14"

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, given its whole head."""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate of its own for photos.example."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=photos.example"
    names = "subjectAltName=DNS:photos.example,DNS:other.example"
    command = ["openssl", "req", "-x509", *options.split(), "-addext", names, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


@dataclass
class Internet:
    """A made-up internet: names, and one server behind all addresses."""

    port: int
    trust: ssl.SSLContext
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """What each look-up of a name answers, in turn; the last answer stays."""
    touched: list[tuple[str, int, str]] = field(default_factory=list)
    """(address, port, host) of every connection."""
    heads: list[str] = field(default_factory=list)
    """Every request."""

    async def resolve(self, host: str, _: int) -> list[str]:
        """The next answer."""
        answers = self.names.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int, host: str) -> Streams:
        """To the one server, with the name that was asked for."""
        self.touched.append((address, port, host))
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust, server_hostname=host)

    def fetcher(self, seconds: float = 5.0) -> Fetcher:
        """One that knows no other internet."""
        return Fetcher(self.resolve, self.connect, seconds)


@contextlib.asynccontextmanager
async def internet(certificate: tuple[Path, Path], answer: Answer) -> AsyncIterator[Internet]:
    """Serve until the test is done."""
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    made = Internet(0, ssl.create_default_context(cafile=str(chain)), {"photos.example": [[PUBLIC]]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            made.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await answer(made.heads[-1], writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def plain(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """Answers everything with this."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)
        await writer.drain()

    return answer


async def refused(made: Internet, url: str, seconds: float = 5.0) -> str:
    """The reason for which the link is refused."""
    with pytest.raises(InvalidArgument) as caught:
        await made.fetcher(seconds).fetch(url)
    assert [violation.field for violation in caught.value.violations] == ["background.url"]
    return caught.value.reason


async def test_the_bytes_come_over_the_address_that_was_judged(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"picture")) as made:
        assert await made.fetcher().fetch("https://Photos.example/a.jpg?b=c") == b"picture"
        assert made.touched == [(PUBLIC, 443, "photos.example")]
        assert made.heads[0].startswith("GET /a.jpg?b=c HTTP/1.1\r\nHost: photos.example\r\n")
        assert "cookie" not in made.heads[0].lower() and "authorization" not in made.heads[0].lower()


NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_no_name_leads_into_a_private_network(certificate: tuple[Path, Path], address: str) -> None:
    async with internet(certificate, plain(b"secret")) as made:
        made.names["photos.example"] = [[PUBLIC, address]]
        assert await refused(made, "https://photos.example/") == "URL_FORBIDDEN_ADDRESS"
        assert made.touched == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "0",
    ],
)
async def test_no_notation_of_an_address_leads_there_either(certificate: tuple[Path, Path], host: str) -> None:
    async with internet(certificate, plain(b"secret")) as made:
        assert await refused(made, f"https://{host}/") == "URL_FORBIDDEN_ADDRESS"
        assert made.touched == []
    async with internet(certificate, plain(b"", "302 Found", f"Location: https://{host}/")) as made:
        assert await refused(made, "https://photos.example/") == "URL_FORBIDDEN_ADDRESS"
        assert len(made.touched) == 1


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450::1"])
def test_the_open_internet_is_open(address: str) -> None:
    assert is_public(address)


async def test_a_name_that_changes_its_mind_gains_nothing(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"", "302 Found", "Location: /again")) as made:
        made.names["photos.example"] = [[PUBLIC], ["127.0.0.1"]]
        assert await refused(made, "https://photos.example/") == "URL_FORBIDDEN_ADDRESS"
        assert made.touched == [(PUBLIC, 443, "photos.example")]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://photos.example/", "URL_NOT_HTTPS"),
        ("ftp://photos.example/", "URL_NOT_HTTPS"),
        ("file:///etc/passwd", "URL_NOT_HTTPS"),
        ("https://me:secret@photos.example/", "URL_CREDENTIALS"),
        ("//127.0.0.1/", "URL_FORBIDDEN_ADDRESS"),
        ("https://[::1", "URL_INVALID"),
        ("https://photos.example/\xe4", "URL_INVALID"),
        ("/round", "URL_REDIRECTS"),
    ],
)
async def test_every_hop_is_judged(certificate: tuple[Path, Path], location: str, reason: str) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n".encode("latin-1"))

    async with internet(certificate, answer) as made:
        assert await refused(made, "https://photos.example/") == reason
        assert len(made.touched) == (1 + MAX_REDIRECTS if reason == "URL_REDIRECTS" else 1)


async def test_three_redirects_are_followed(certificate: tuple[Path, Path]) -> None:
    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        hops = int(head.split()[1].removeprefix("/"))
        moved = plain(b"", "307 Moved", f"Location: https://other.example/{hops - 1}")
        await (moved if hops else plain(b"there"))(head, writer)

    async with internet(certificate, answer) as made:
        made.names["other.example"] = [["2606:4700::1111"]]
        assert await made.fetcher().fetch(f"https://photos.example/{MAX_REDIRECTS}") == b"there"
        assert made.touched[-1] == ("2606:4700::1111", 443, "other.example")


async def test_a_server_must_prove_its_name(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"picture")) as made:
        made.names["impostor.example"] = [[PUBLIC]]
        assert await refused(made, "https://impostor.example/") == "URL_UNREACHABLE"
        assert made.heads == []


@pytest.mark.parametrize(
    "drip", [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n"]
)
async def test_slow_servers_are_left(certificate: tuple[Path, Path], drip: bytes) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(drip)
        for _number in range(100):
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 100 \r\n\r\n" if b"100" in drip else b"a")
            await writer.drain()

    async with internet(certificate, answer) as made:
        start = asyncio.get_running_loop().time()
        assert await refused(made, "https://photos.example/", seconds=0.3) == "URL_TOO_SLOW"
        assert asyncio.get_running_loop().time() - start < 1.9


async def test_a_slow_name_server_is_left_too(certificate: tuple[Path, Path]) -> None:
    async def never(_: str, __: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with internet(certificate, plain(b"")) as made:
        with pytest.raises(InvalidArgument) as caught:
            await Fetcher(never, made.connect, 0.05).fetch("https://photos.example/")
        assert caught.value.reason == "URL_TOO_SLOW"


async def test_what_announces_too_much_is_not_read(certificate: tuple[Path, Path]) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_FILE_BYTES + 1}\r\n\r\n".encode())
        await asyncio.sleep(2)

    async with internet(certificate, answer) as made:
        assert await refused(made, "https://photos.example/") == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize("coding", [b"", b"Transfer-Encoding: chunked\r\n"], ids=["plain", "chunked"])
async def test_what_announces_nothing_is_read_up_to_the_limit(certificate: tuple[Path, Path], coding: bytes) -> None:
    sent = 0

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n" % coding)
        block = bytes(256 * 1024)
        while sent < 3 * MAX_FILE_BYTES:
            writer.write(b"%x\r\n%b\r\n" % (len(block), block) if coding else block)
            await writer.drain()
            sent += len(block)

    async with internet(certificate, answer) as made:
        assert await refused(made, "https://photos.example/", seconds=20.0) == "IMAGE_TOO_LARGE"
        assert sent < 2 * MAX_FILE_BYTES, "the rest stays where it is, but for what the sockets hold"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (plain(b"no", "404 Not Found"), "URL_STATUS"),
        (plain(b"no", "206 Partial Content"), "URL_STATUS"),
        (plain(b"no", "304 Not Modified"), "URL_STATUS"),
        (plain(b"", "302 Found"), "URL_STATUS"),
        (plain(b"a", "200 OK", "Content-Length: 2"), "URL_UNREACHABLE"),
        (plain(b"", "200 OK", "X: " + "a" * 200_000), "URL_UNREACHABLE"),
        (plain(b"", "hello"), "URL_UNREACHABLE"),
    ],
    ids=range(7),
)
async def test_what_is_no_answer_is_refused(certificate: tuple[Path, Path], answer: Answer, reason: str) -> None:
    async with internet(certificate, answer) as made:
        assert await refused(made, "https://photos.example/") == reason


async def test_a_body_cut_short_is_refused(certificate: tuple[Path, Path]) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
        await writer.drain()

    async with internet(certificate, answer) as made:
        assert await refused(made, "https://photos.example/") == "URL_UNREACHABLE"


async def test_the_next_address_is_tried(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"picture")) as made:
        made.names["photos.example"] = [["2606:4700::1111", PUBLIC]]

        async def connect(address: str, port: int, host: str) -> Streams:
            if ":" in address:
                raise OSError("network is unreachable")
            return await made.connect(address, port, host)

        assert await Fetcher(made.resolve, connect).fetch("https://photos.example/") == b"picture"


async def test_a_name_that_nobody_knows(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"")) as made:
        made.names["photos.example"] = [[]]
        assert await refused(made, "https://photos.example/") == "URL_FORBIDDEN_ADDRESS"
    with pytest.raises(InvalidArgument) as caught:
        await Fetcher().fetch("https://localhost/")  # the system's own resolver; nothing is connected to
    assert caught.value.reason == "URL_FORBIDDEN_ADDRESS"


async def test_a_cancel_ends_the_fetch(certificate: tuple[Path, Path]) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await writer.wait_closed()
        gone.set()

    async with internet(certificate, answer) as made:
        task = asyncio.create_task(made.fetcher().fetch("https://photos.example/"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await gone.wait()
