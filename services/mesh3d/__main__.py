"""Composition root of the mesh3d service."""

from __future__ import annotations

import sys

from lensora.mesh3d.v1.mesh3d_pb2_grpc import add_Mesh3dServiceServicer_to_server
from lensora.runtime.server import Service, serve
from lensora.runtime.worker import ProcessRunner
from services.mesh3d.servicer import Mesh3dServicer
from services.mesh3d.settings import Settings


def main() -> int:
    """Settings → engine → servicer → serve; returns the exit status."""
    settings = Settings()
    service = Service(
        name="lensora.mesh3d.v1.Mesh3dService",
        add_to_server=add_Mesh3dServiceServicer_to_server,
        servicer=Mesh3dServicer,
        runner=ProcessRunner("mesh3d", settings),
    )
    return serve(service, settings)


if __name__ == "__main__":
    sys.exit(main())
