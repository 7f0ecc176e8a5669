"""Composition root of the background service."""

from __future__ import annotations

import sys

from lensora.background.v1.background_pb2_grpc import add_BackgroundServiceServicer_to_server
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Service, serve
from services.background.core.fetch import Fetcher
from services.background.servicer import BackgroundServicer
from services.background.settings import Settings


def main() -> int:
    """Settings → engine → servicer → serve; returns the exit status."""
    settings = Settings()
    service = Service(
        name="lensora.background.v1.BackgroundService",
        add_to_server=add_BackgroundServiceServicer_to_server,
        servicer=lambda stage: BackgroundServicer(stage, Fetcher()),
        runner=ThreadRunner("background", settings),
    )
    return serve(service, settings)


if __name__ == "__main__":
    sys.exit(main())
