"""Whether this gateway can do its work now: its database answers, its blob store writes, its services are well."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from gateway.blobs import BlobStore
from gateway.settings import Settings
from gateway.store import Database
from lensora.core.errors import LensoraError
from lensora.runtime.callees import open_service

SERVICES = ("detect", "segment", "background", "mesh3d", "render")

_CHECK_SECONDS = 2.0
_KEEP_SECONDS = 1.0


class Health:
    """Asks, and keeps the answer for a second, so that being asked often costs nothing."""

    def __init__(self, settings: Settings, database: Database, blobs: BlobStore) -> None:
        self._database, self._blobs = database, blobs
        self._channels = {name: open_service(name, *settings.way_to(name)) for name in SERVICES}
        self._lock = asyncio.Lock()
        self._checked_at = -_KEEP_SECONDS
        self._answer: dict[str, bool] = {}

    async def check(self) -> dict[str, bool]:
        """Which of ``database``, ``blobs`` and the services are well."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= _KEEP_SECONDS:
                checks = [self._database_is_well(), self._blobs_are_well(), *map(self._service_is_well, SERVICES)]
                self._answer = dict(zip(("database", "blobs", *SERVICES), await asyncio.gather(*checks), strict=True))
                self._checked_at = time.monotonic()
            return self._answer

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def _database_is_well(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._database.run(self._ask_database)
        except (DBAPIError, TimeoutError):
            return False
        return True

    def _ask_database(self) -> None:
        with self._database.reading() as connection:
            connection.execute(select(1))

    async def _blobs_are_well(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._blobs.check()
        except (LensoraError, TimeoutError):
            return False
        return True

    async def _service_is_well(self, name: str) -> bool:
        stub: Any = health_pb2_grpc.HealthStub(self._channels[name])
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_CHECK_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
