"""What the gRPC transport does when a connection says nothing any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lensora.client.grpc import GrpcTransport
from lensora.client.values import Artifact
from lensora.core.errors import Unavailable


class Silent:
    """A stream of which nothing comes."""

    cancelled = False

    async def read(self) -> Any:
        await asyncio.Event().wait()

    def cancel(self) -> None:
        self.cancelled = True


async def test_a_download_of_which_nothing_comes_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, call = GrpcTransport("", "127.0.0.1:9", 0.1, secure=False), Silent()
    monkeypatch.setattr(transport._stub, "DownloadArtifact", lambda *_, **__: call)
    with pytest.raises(Unavailable) as lost:
        async for _ in transport.read("job", Artifact("glb", "model/gltf-binary", 1, "0" * 64, ""), 0):
            pass
    assert lost.value.reason == "CONNECTION_LOST"
    assert call.cancelled
    await transport.close()
