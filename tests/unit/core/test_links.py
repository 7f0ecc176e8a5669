"""What may be a link, before anything is looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensora.core.errors import InvalidArgument
from lensora.core.links import MAX_LENGTH, Link, parse


def refusal(url: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        parse(url, "background.url")
    assert [violation.field for violation in caught.value.violations] == ["background.url"]
    return caught.value


@pytest.mark.parametrize(
    ("url", "link", "authority"),
    [
        ("https://example.com", Link("example.com", 443, "/"), "example.com"),
        ("HTTPS://Example.COM/A.jpg", Link("example.com", 443, "/A.jpg"), "example.com"),
        ("https://example.com:8443/a?b=c#d", Link("example.com", 8443, "/a?b=c"), "example.com:8443"),
        ("https://example.com?q", Link("example.com", 443, "/?q"), "example.com"),
        ("https://my_bucket.example.com/@me", Link("my_bucket.example.com", 443, "/@me"), "my_bucket.example.com"),
        ("https://xn--bcher-kva.example/%C3%A4.jpg", Link("xn--bcher-kva.example", 443, "/%C3%A4.jpg"), None),
        ("https://8.8.8.8/a", Link("8.8.8.8", 443, "/a"), "8.8.8.8"),
        ("https://[2606:4700::1111]:99/", Link("2606:4700::1111", 99, "/"), "[2606:4700::1111]:99"),
    ],
)
def test_a_link_is_taken_apart(url: str, link: Link, authority: str | None) -> None:
    assert parse(url, "url") == link
    assert authority is None or link.authority == authority


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "URL_NOT_HTTPS"),
        ("http://example.com/a.jpg", "URL_NOT_HTTPS"),
        ("ftp://example.com/a.jpg", "URL_NOT_HTTPS"),
        ("file:///etc/passwd", "URL_NOT_HTTPS"),
        ("gopher://example.com", "URL_NOT_HTTPS"),
        ("//example.com/a.jpg", "URL_NOT_HTTPS"),
        (" https://example.com", "URL_NOT_HTTPS"),
        ("https://user@example.com/", "URL_CREDENTIALS"),
        ("https://user:secret@example.com/", "URL_CREDENTIALS"),
        ("https://:@example.com/", "URL_CREDENTIALS"),
        ("https://example.com@127.0.0.1/", "URL_CREDENTIALS"),
        ("https://", "URL_INVALID"),
        ("https:///a.jpg", "URL_INVALID"),
        ("https://exa mple.com/", "URL_INVALID"),
        ("https://example.com/a b", "URL_INVALID"),
        ("https://example.com/\r\nHost: x", "URL_INVALID"),
        ("https://example.com\\@127.0.0.1/", "URL_INVALID"),
        ("https://ex%61mple.com/", "URL_INVALID"),
        ("https://１２７.0.0.1/", "URL_INVALID"),
        ("https://bücher.example/", "URL_INVALID"),
        ("https://example..com/", "URL_INVALID"),
        ("https://example.com./", "URL_INVALID"),
        ("https://-example.com/", "URL_INVALID"),
        ("https://" + "a" * 64 + ".com/", "URL_INVALID"),
        ("https://" + "a." * 127 + "com/", "URL_INVALID"),
        ("https://example.com:0/", "URL_INVALID"),
        ("https://example.com:65536/", "URL_INVALID"),
        ("https://example.com:/", "URL_INVALID"),
        ("https://example.com/" + "a" * MAX_LENGTH, "URL_INVALID"),
        ("https://[fe80::1%25eth0]/", "URL_INVALID"),
        ("https://2130706433/", "URL_FORBIDDEN_ADDRESS"),
        ("https://0x7f000001/", "URL_FORBIDDEN_ADDRESS"),
        ("https://0x7f.1/", "URL_FORBIDDEN_ADDRESS"),
        ("https://0177.0.0.1/", "URL_FORBIDDEN_ADDRESS"),
        ("https://127.1/", "URL_FORBIDDEN_ADDRESS"),
        ("https://1.2.3.4.5/", "URL_FORBIDDEN_ADDRESS"),
        ("https://256.1.1.1/", "URL_FORBIDDEN_ADDRESS"),
        ("https://[::1/", "URL_INVALID"),
        ("https://[1.2.3.4]x/", "URL_INVALID"),
        ("https://[:::]/", "URL_FORBIDDEN_ADDRESS"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    assert refusal(url).reason == reason


@given(st.text(max_size=60))
def test_any_text_is_a_plain_link_or_refused(text: str) -> None:
    try:
        link = parse(f"https://{text}", "url")
    except InvalidArgument:
        return
    assert link.host and link.host == link.host.lower() and not set(link.host) & set("@/\\%# ")
    assert link.target.startswith("/") and link.target.isascii() and link.target.isprintable()
