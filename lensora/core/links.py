"""The rules of a link that a stranger sends, before anything is looked up; one reading of it, for all who need one.

The grammar is narrower than RFC 3986: what two parsers could read in two ways is refused, not repaired.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from lensora.core.errors import InvalidArgument

MAX_LENGTH = 2048
"""Characters of a link."""

_LINK = re.compile(r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?([/?][!-~]*)?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Link:
    """An https link, taken apart."""

    host: str
    """Lower case; a name, or an address without brackets."""

    port: int
    target: str
    """Path and query, as a request line has them."""

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"


def parse(url: str, field: str) -> Link:
    """Take a link apart.

    Args:
        url: of which nothing has been checked.
        field: what to call it in an error.

    Raises:
        InvalidArgument: ``field``, reason ``URL_NOT_HTTPS``, ``URL_CREDENTIALS``, ``URL_FORBIDDEN_ADDRESS`` (a number
            for a host in any notation but the usual one) or ``URL_INVALID``.
    """
    if len(url) > MAX_LENGTH:
        raise InvalidArgument.of(field, f"at most {MAX_LENGTH:,} characters, not {len(url):,}", reason="URL_INVALID")
    if not url.lower().startswith("https://"):
        raise InvalidArgument.of(field, "must begin with https://", reason="URL_NOT_HTTPS")
    bare = "https://" + url[8:].partition("#")[0]
    if "@" in re.split(r"[/?\\]", bare[8:])[0]:
        raise InvalidArgument.of(field, "must hold no user name or password", reason="URL_CREDENTIALS")
    match = _LINK.fullmatch(bare)
    if match is None:
        description = "must be a whole link in plain ASCII; percent-encode other letters, and write the host as xn--…"
        raise InvalidArgument.of(field, description, reason="URL_INVALID")
    port = int(match[2] or 443)
    if not 0 < port < 65536:
        raise InvalidArgument.of(field, f"port 1 to 65535, not {port}", reason="URL_INVALID")
    target = match[3] or "/"
    return Link(_host(match[1].lower(), field), port, target if target.startswith("/") else f"/{target}")


def _host(host: str, field: str) -> str:
    """A name, or an address in its usual notation."""
    labels = host.split(".")
    if host.startswith("[") or _NUMBER.fullmatch(labels[-1]):  # the WHATWG URL standard's "ends in a number"
        try:
            return str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            description = "the host is a number in an unusual notation; write its name"
            raise InvalidArgument.of(field, description, reason="URL_FORBIDDEN_ADDRESS") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidArgument.of(field, "its host is no name of the internet", reason="URL_INVALID")
    return host
