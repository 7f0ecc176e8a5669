"""A small HTTP server that speaks Kubernetes' list and watch, as far as a control plane needs them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "secret-token"  # noqa: S105
NAMESPACE = "lensora"


class Api:
    """Holds objects by kind and name, and tells watchers what becomes of them."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"configmaps": {}, "endpointslices": {}}
        self.version = 100
        self.unauthorized = 0
        self.lists: list[str] = []
        """Kinds, each time that they were listed."""

        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._watches: dict[asyncio.Queue[dict[str, Any] | None], str] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    def put(self, kind: str, name: str, **content: Any) -> None:
        """Make an object, or change it."""
        self.version += 1
        old = self.objects[kind].get(name)
        metadata = {"name": name, "resourceVersion": str(self.version), **content.pop("metadata", {})}
        self.objects[kind][name] = {**content, "metadata": metadata}
        self.tell(kind, "ADDED" if old is None else "MODIFIED", self.objects[kind][name])

    def delete(self, kind: str, name: str) -> None:
        """Remove one."""
        self.version += 1
        self.tell(kind, "DELETED", self.objects[kind].pop(name))

    def tell(self, kind: str, event: str, content: dict[str, Any]) -> None:
        """Send an event to all watchers of a kind."""
        told = {"type": event, "object": content}
        self._events.append((self.version, kind, told))
        for queue, watched in self._watches.items():
            if watched == kind:
                queue.put_nowait(told)

    def break_watches(self) -> None:
        """End all streams in the middle."""
        for queue in self._watches:
            queue.put_nowait(None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, _ = head[0].split()
                await self._answer(writer, method, target, headers, body)
        self._writers.discard(writer)
        writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> None:
        path, query = urlsplit(target).path.strip("/").split("/"), parse_qs(urlsplit(target).query)
        if headers.get("authorization") != f"bearer {TOKEN}":
            self.unauthorized += 1
            return _reply(writer, 401, {"message": "who are you?"})
        assert path[path.index("namespaces") + 1] == NAMESPACE
        kind, name = path[path.index("namespaces") + 2], path[path.index("namespaces") + 3 :]
        if method == "PATCH":
            return self._patch(writer, kind, name[0], headers, json.loads(body))
        if name:
            return _reply(writer, 200, self.objects[kind][name[0]])
        if "watch" in query:
            return await self._watch(writer, kind, int(query["resourceVersion"][0]))
        self.lists.append(kind)
        items = list(self.objects[kind].values())
        return _reply(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items})

    def _patch(
        self, writer: asyncio.StreamWriter, kind: str, name: str, headers: dict[str, str], patch: dict[str, Any]
    ) -> None:
        assert headers["content-type"] == "application/merge-patch+json"
        found = self.objects[kind][name]
        if patch["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            return _reply(writer, 409, {"message": "conflict"})
        self.put(kind, name, data={**found["data"], **patch["data"]})
        return _reply(writer, 200, self.objects[kind][name])

    async def _watch(self, writer: asyncio.StreamWriter, kind: str, since: int) -> None:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        for version, of, told in self._events:
            if of == kind and version > since:
                queue.put_nowait(told)
        self._watches[queue] = kind
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while (event := await queue.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        finally:
            del self._watches[queue]


def _reply(writer: asyncio.StreamWriter, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@contextlib.asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    """Its URL, for as long as the block lasts."""
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        api.break_watches()
        for writer in list(api._writers):
            writer.close()
        await server.wait_closed()
