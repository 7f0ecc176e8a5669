"""Composition root of the control plane."""

from __future__ import annotations

import asyncio
import sys

from controlplane import discovery, wire
from controlplane.servicer import MeshServicer
from controlplane.settings import Settings
from controlplane.sources import Source
from controlplane.state import State
from controlplane.wire.admin_pb2_grpc import add_MeshServiceServicer_to_server
from lensora.runtime.server import Listener, run_process

_NAMES = [wire.DISCOVERY_SERVICE, wire.LOAD_SERVICE, "lensora.controlplane.v1.MeshService"]


def _source(state: State, settings: Settings) -> Source:
    if settings.source == "kubernetes":
        from controlplane.sources.kubernetes import KubernetesSource

        return KubernetesSource(state, settings)
    from controlplane.sources.file import FileSource

    return FileSource(state, settings)


async def _serve(settings: Settings) -> None:
    state = State()
    source = _source(state, settings)
    listener = Listener(
        settings.listen, _NAMES, certificates=settings.certificates, health_listen=settings.health_listen
    )
    discovery.add_to_server(state, settings.report_seconds, listener.server)
    servicer = MeshServicer(state, source, tls=settings.certificates is not None)
    add_MeshServiceServicer_to_server(servicer, listener.server)
    await listener.set_fit(False)
    await listener.start()
    serving = asyncio.create_task(listener.serve_until_signal(settings.drain_seconds))
    watching = asyncio.create_task(source.run())  # ends only by a defect, which ends the process
    telling = asyncio.create_task(_tell_ready(state, listener))
    try:
        await asyncio.wait([serving, watching], return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
    finally:
        for task in (serving, watching, telling):
            task.cancel()
        await asyncio.wait([serving, watching, telling])


async def _tell_ready(state: State, listener: Listener) -> None:
    await state.ready.wait()
    await listener.set_fit(True)


def main() -> int:
    """Settings → source → servicers → serve; returns the exit status."""
    settings = Settings()
    return run_process(
        lambda: _serve(settings),
        "controlplane",
        level=settings.log_level,
        log_format=settings.log_format,
        with_parent=settings.die_with_parent,
    )


if __name__ == "__main__":
    sys.exit(main())
