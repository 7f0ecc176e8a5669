"""Composition root of the detect service."""

from __future__ import annotations

import sys

from lensora.detect.v1.detect_pb2_grpc import add_DetectServiceServicer_to_server
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Service, serve
from services.detect.servicer import DetectServicer
from services.detect.settings import Settings


def main() -> int:
    """Settings → engine → servicer → serve; returns the exit status."""
    settings = Settings()
    service = Service(
        name="lensora.detect.v1.DetectService",
        add_to_server=add_DetectServiceServicer_to_server,
        servicer=DetectServicer,
        runner=ThreadRunner("detect", settings),
    )
    return serve(service, settings)


if __name__ == "__main__":
    sys.exit(main())
