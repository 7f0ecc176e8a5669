"""Composition root of the segment service."""

from __future__ import annotations

import sys

from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Service, serve
from lensora.segment.v1.segment_pb2_grpc import add_SegmentServiceServicer_to_server
from services.segment.servicer import SegmentServicer
from services.segment.settings import Settings


def main() -> int:
    """Settings → engine → servicer → serve; returns the exit status."""
    settings = Settings()
    service = Service(
        name="lensora.segment.v1.SegmentService",
        add_to_server=add_SegmentServiceServicer_to_server,
        servicer=SegmentServicer,
        runner=ThreadRunner("segment", settings),
    )
    return serve(service, settings)


if __name__ == "__main__":
    sys.exit(main())
