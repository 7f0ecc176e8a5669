"""Errors as RFC 9457 problems, from the one table in ``lensora.runtime.errors``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from structlog.contextvars import get_contextvars

from gateway.limits import REMAINING, RESET
from gateway.store import GONE, explained
from lensora.core.errors import FieldViolation, InvalidArgument, LensoraError
from lensora.runtime.errors import http_status, told_message, told_violations

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    violations: list[FieldViolation] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The response that says so.

    Args:
        status: of HTTP.
        code: stable, for programs.
        detail: a sentence that a person can act on.
        violations: fields and the rules that they break.
        headers: to send with it.
    """
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase if status != _CLIENT_LEFT else "Client Closed Request",
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [{"field": item.field, "rule": item.description} for item in violations or ()],
        "request_id": get_contextvars().get("request_id", ""),
    }
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


_CLIENT_LEFT = 499


async def from_error(_: Request, error: LensoraError) -> Response:
    """A ``LensoraError``."""
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if RESET in error.metadata:
        headers["X-RateLimit-Remaining"] = error.metadata[REMAINING]
        headers["X-RateLimit-Reset"] = error.metadata[RESET]
    status = http_status(error)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(status, error.reason, told_message(error), told_violations(error), headers)


async def from_validation(request: Request, error: RequestValidationError) -> Response:
    """A parameter that breaks the rule of its declaration."""
    violations = tuple(FieldViolation(str(item["loc"][-1]), item["msg"]) for item in error.errors())
    message = "; ".join(f"{item.field}: {item.description}" for item in violations)
    return await from_error(request, InvalidArgument(message, violations=violations))


async def from_http(_: Request, error: HTTPException) -> Response:
    """No such route, or not with this method."""
    status = HTTPStatus(error.status_code)
    return problem(status, status.name, status.description or status.phrase, headers=dict(error.headers or {}))


async def from_database(request: Request, error: Exception) -> Response:
    """The database does not answer."""
    told = explained(error)
    return await from_error(request, told) if isinstance(told, LensoraError) else await from_anything(request, error)


async def from_anything(_: Request, __: Exception) -> Response:
    """A defect of ours; what it was is in the log alone."""
    return problem(500, "INTERNAL", "an unexpected error; see the gateway's log")


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    LensoraError: from_error,
    RequestValidationError: from_validation,
    HTTPException: from_http,
    **dict.fromkeys(GONE, from_database),
    Exception: from_anything,
}
"""For FastAPI."""
