"""TLS with certificates of both sides, inside the mesh; files may change at any time.

A folder of certificates has ``tls.crt`` (chain), ``tls.key`` and ``ca.crt``, as in a Kubernetes secret of this kind.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import grpc
import structlog

from lensora.core.errors import InvalidArgument

CERTIFICATE, KEY, AUTHORITY = FILES = ("tls.crt", "tls.key", "ca.crt")

_log = structlog.get_logger()


def read(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Chain, key and CA, PEM.

    Raises:
        InvalidArgument: reason ``CERTIFICATES_UNREADABLE``.
    """
    try:
        chain, key, authority = ((folder / name).read_bytes() for name in FILES)
    except OSError as error:
        raise InvalidArgument(
            f"certificates are asked for, but cannot be read: {error}", reason="CERTIFICATES_UNREADABLE"
        ) from error
    return chain, key, authority


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Of a server that tells by certificate who it is, and wants to be told the same; new files hold from the next
    connection on.

    Raises:
        InvalidArgument: see ``read``.
    """
    watch = _Watch(folder)
    fetch: Any = watch.fetch  # None means no news, which the stubs do not know
    return grpc.dynamic_ssl_server_credentials(watch.first, fetch, require_client_authentication=True)


def channel_credentials(folder: Path) -> grpc.ChannelCredentials:
    """Of a direct channel, for as long as it lives.

    Raises:
        InvalidArgument: see ``read``.
    """
    chain, key, authority = read(folder)
    return grpc.ssl_channel_credentials(authority, key, chain)


class _Watch:
    """Asked at every handshake, by gRPC's threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pems = read(folder)
        self.first = _configuration(self._pems)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None while nothing is new, or what is new cannot be read whole."""
        with self._lock:
            try:
                pems = read(self._folder)
                if pems == self._pems or pems != read(self._folder):
                    return None
            except InvalidArgument as error:
                _log.error("certificates", reason=error.reason, message=error.message)
                return None
            self._pems = pems
        _log.info("certificates changed", folder=str(self._folder))
        return _configuration(pems)


def _configuration(pems: tuple[bytes, bytes, bytes]) -> grpc.ServerCertificateConfiguration:
    chain, key, authority = pems
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)
