"""Composition root of the gateway."""

from __future__ import annotations

import contextlib
import fcntl
import sys
from typing import IO

from gateway import signing
from gateway.blobs import open_store
from gateway.edge import grpc
from gateway.edge.http import Edge, HttpServer
from gateway.health import Health
from gateway.jobs import Studio
from gateway.settings import Settings
from gateway.stages import Stages
from gateway.store import Database, Store
from lensora.core.errors import Unavailable
from lensora.runtime.server import run_process


def _lock(settings: Settings) -> IO[str]:
    """Take the home for this process, because two gateways on one SQLite file would end each other's jobs."""
    settings.home.mkdir(parents=True, exist_ok=True)
    file = (settings.home / "gateway.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Unavailable(f"another gateway uses {settings.home}", reason="HOME_IN_USE") from error
    return file


async def _serve(settings: Settings) -> None:
    database = Database.of(settings)
    with _lock(settings) if database.is_sqlite else contextlib.nullcontext():
        store = Store(database)
        blobs = open_store(settings.blobs_url, settings.home / "blobs", settings.url_seconds)
        studio = Studio(settings, store, blobs, Stages(settings, store, blobs))
        signer = signing.signer(settings)
        listener = grpc.listener(settings.listen, studio, signer, settings.health_listen)
        health = Health(settings, database, blobs)
        http = HttpServer(Edge(settings, studio, signer, health)) if settings.http_listen else None
        await studio.start()
        await listener.start()
        if http is not None:
            await http.start()
        try:
            await listener.serve_until_signal(settings.drain_seconds, http.stop if http else None)
        finally:
            await studio.stop()


def main() -> int:
    """Settings → store → use cases → edges → serve; returns the exit status."""
    settings = Settings()
    return run_process(
        lambda: _serve(settings),
        "gateway",
        level=settings.log_level,
        log_format=settings.log_format,
        with_parent=settings.die_with_parent,
    )


if __name__ == "__main__":
    sys.exit(main())
