"""Composition root of the render service."""

from __future__ import annotations

import sys

from lensora.render.v1.render_pb2_grpc import add_RenderServiceServicer_to_server
from lensora.runtime.server import Service, serve
from lensora.runtime.worker import ProcessRunner
from services.render.servicer import RenderServicer
from services.render.settings import Settings


def main() -> int:
    """Settings → engine → servicer → serve; returns the exit status."""
    settings = Settings()
    service = Service(
        name="lensora.render.v1.RenderService",
        add_to_server=add_RenderServiceServicer_to_server,
        servicer=RenderServicer,
        runner=ProcessRunner("render", settings),
    )
    return serve(service, settings)


if __name__ == "__main__":
    sys.exit(main())
