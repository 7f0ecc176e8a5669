"""``python -m lensora.runtime.probe [host:port | http://…]``: asks how a component is, for where there is no kubelet.

Exit status 0 says that it serves. An address over gRPC is asked for its health (grpc.health.v1), without TLS; an HTTP
one has to answer with 200.
"""

from __future__ import annotations

import http.client
import sys
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEFAULT = "127.0.0.1:18002"
_SECONDS = 3.0


def probe(address: str) -> str:
    """What is wrong with whoever is at ``address``; empty if nothing is."""
    return _ask_http(address) if address.startswith("http://") else _ask_grpc(address)


def _ask_grpc(address: str) -> str:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError as error:
            return str(error.details() if isinstance(error, grpc.Call) else error)
    serves = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "" if serves else f"{address} answers {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _ask_http(address: str) -> str:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        text = answer.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{address}: {error}"
    finally:
        connection.close()
    return "" if answer.status == http.client.OK else f"{address} answers {answer.status}: {text}"


def main() -> int:
    """Probe, say what is wrong, and return the exit status."""
    trouble = probe(sys.argv[1] if len(sys.argv) > 1 else DEFAULT)
    if trouble:
        sys.stderr.write(f"{trouble}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
