"""Links of strangers: where they may lead, what they may cost. Nothing leaves the machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lensora.core.addresses import is_public
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.outside import Streams
from services.background.core.fetch import MAX_REDIRECTS, Fetcher
from tests.strangers import PUBLIC, Answer, Internet, internet, plain


def fetcher(made: Internet, seconds: float = 5.0) -> Fetcher:
    """One that knows no other internet."""
    return Fetcher(made.resolve, made.connect, seconds)


async def refused(made: Internet, url: str, seconds: float = 5.0) -> str:
    """The reason for which the link is refused."""
    with pytest.raises(InvalidArgument) as caught:
        await fetcher(made, seconds).fetch(url)
    assert [violation.field for violation in caught.value.violations] == ["background.url"]
    return caught.value.reason


async def test_the_bytes_come_over_the_address_that_was_judged(certificate: tuple[Path, Path]) -> None:
    async with internet(certificate, plain(b"picture")) as made:
        assert await fetcher(made).fetch("https://Photos.example/a.jpg?b=c") == b"picture"
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
        assert await fetcher(made).fetch(f"https://photos.example/{MAX_REDIRECTS}") == b"there"
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
        task = asyncio.create_task(fetcher(made).fetch("https://photos.example/"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await gone.wait()
