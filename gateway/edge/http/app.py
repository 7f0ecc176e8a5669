"""The HTTP edge as one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp

from gateway.edge.http import openapi, problems, routes
from gateway.edge.http.border import Border
from gateway.edge.http.edge import Edge

_DESCRIPTION = (
    "One photo in; a film of its subject as a real 3D object on a new background out. "
    "Errors are problems (RFC 9457) with a stable code; nothing is charged for a call that fails."
)
_MIN_GZIP_BYTES = 1000


def create_app(edge: Edge) -> ASGIApp:
    """Routes, errors and pages, and around them from the inside out: compression of JSON, CORS, the border."""
    app = FastAPI(
        title="Lensora Studio",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers=problems.HANDLERS,
        redirect_slashes=False,
        # the border traces requests, as it does over gRPC; FastAPI would also tell addresses with their signatures
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.edge = edge
    for router in (routes.studio, routes.billing, routes.operation):
        app.include_router(router)
    openapi.describe(app)
    wrapped: ASGIApp = GZipMiddleware(
        app, _MIN_GZIP_BYTES, 5, exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "model/*")
    )
    if origins := [origin.strip() for origin in edge.settings.cors_origins.split(",") if origin.strip()]:
        wrapped = CORSMiddleware(
            wrapped,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Last-Event-ID",
                "Range",
                "X-Request-Id",
            ],
            expose_headers=[
                "Content-Range",
                "ETag",
                "Retry-After",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
                "X-Request-Id",
            ],
            max_age=3600,
        )
    return Border(wrapped, edge.settings.stall_seconds)
