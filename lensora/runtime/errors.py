"""One table from our errors to gRPC and HTTP, and back again from what a call was answered.

gRPC carries ``google.rpc.ErrorInfo`` (reason), ``BadRequest`` (fields) and ``RetryInfo`` in the trailing metadata.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from lensora.core import errors
from lensora.core.errors import FieldViolation, LensoraError

DOMAIN = "lensora.studio"

_MESSAGE, _DESCRIPTION, _VIOLATIONS = 400, 200, 5
"""The most characters and fields that are sent: past 8 KiB of trailing metadata gRPC drops the whole status."""

_TABLE: tuple[tuple[type[LensoraError], grpc.StatusCode, int], ...] = (
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT, 422),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND, 404),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS, 409),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION, 422),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED, 401),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE, 503),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    (errors.Cancelled, grpc.StatusCode.CANCELLED, 499),
    (errors.Unimplemented, grpc.StatusCode.UNIMPLEMENTED, 501),
    (errors.Internal, grpc.StatusCode.INTERNAL, 500),
)
_HTTP_BY_REASON = {
    "INSUFFICIENT_CREDITS": 402,
    "UPLOAD_TIMED_OUT": 408,
    "SESSION_EXPIRED": 410,
    "LINK_EXPIRED": 410,
    "ARTIFACT_EXPIRED": 410,
    "IMAGE_TOO_LARGE": 413,
    "BODY_TOO_LARGE": 413,
    "IMAGE_WRONG_TYPE": 415,
    "BODY_WRONG_TYPE": 415,
    "BLOB_WRITE": 503,
}
"""HTTP tells some cases apart that gRPC has one code for."""

_OTHER_HTTP: dict[int, type[LensoraError]] = {
    402: errors.FailedPrecondition,
    408: errors.DeadlineExceeded,
    410: errors.FailedPrecondition,
    502: errors.Unavailable,
}

_BY_STATUS = {status: kind for kind, status, _ in _TABLE}


def grpc_code(error: LensoraError) -> grpc.StatusCode:
    """The gRPC status code of an error; one outside the table is INTERNAL."""
    return next((status for kind, status, _ in _TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def http_status(error: LensoraError) -> int:
    """The HTTP status of an error: by its reason, else by its kind."""
    if error.reason in _HTTP_BY_REASON:
        return _HTTP_BY_REASON[error.reason]
    return next((http for kind, _, http in _TABLE if isinstance(error, kind)), 500)


def told_message(error: LensoraError) -> str:
    """The error's sentence, in the length that is sent."""
    return _printable(error.message[:_MESSAGE])


def told_violations(error: LensoraError) -> list[FieldViolation]:
    """The first of the error's broken rules, in the length that is sent."""
    return [
        FieldViolation(_printable(item.field[:_DESCRIPTION]), _printable(item.description[:_DESCRIPTION]))
        for item in error.violations[:_VIOLATIONS]
    ]


def to_status(error: LensoraError) -> grpc.Status:
    """The rich status that a server aborts a call with."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
    ]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=item.field, description=item.description)
            for item in told_violations(error)
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        holder = any_pb2.Any()
        holder.Pack(detail)
        packed.append(holder)
    code = code_pb2.Code.Value(grpc_code(error).name)
    return rpc_status.to_status(status_pb2.Status(code=code, message=told_message(error), details=packed))


def _printable(text: str) -> str:
    """A sentence may quote what the caller sent; what would move a terminal's cursor is shown as U+FFFD."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def from_rpc(error: grpc.RpcError) -> LensoraError:
    """The error that the server raised, as far as its status tells."""
    call: Any = error
    kind = _BY_STATUS.get(call.code(), errors.Internal)
    message = call.details() or call.code().name
    keywords: dict[str, Any] = {}
    for detail in _details(call):
        _read_detail(detail, keywords)
    return kind(message, **keywords)


def from_problem(status: int, problem: dict[str, Any], retry_after_s: float | None = None) -> LensoraError:
    """The error that an HTTP answer tells of.

    Args:
        status: of HTTP.
        problem: the body (RFC 9457), or what there is of it.
        retry_after_s: of the header ``Retry-After``.
    """
    reason = str(problem.get("code") or "") or None
    told = problem.get("errors")
    violations = tuple(
        FieldViolation(str(item["field"]), str(item["rule"]))
        for item in (told if isinstance(told, list) else ())
        if isinstance(item, dict) and {"field", "rule"} <= item.keys()  # a proxy on the way has words of its own
    )
    message = str(problem.get("detail") or "") or f"HTTP {status}"
    kind = _kind_of(status, reason, violations)
    return kind(message, reason=reason, violations=violations, retry_after_s=retry_after_s)


def _kind_of(status: int, reason: str | None, violations: tuple[FieldViolation, ...]) -> type[LensoraError]:
    """The way back through the table; 422 is a broken rule or a state that forbids, and only the former names it."""
    if status in (400, 413, 415) or (status == 422 and (violations or reason == errors.InvalidArgument.default_reason)):
        return errors.InvalidArgument
    if status in _OTHER_HTTP:
        return _OTHER_HTTP[status]
    return next((kind for kind, _, http in reversed(_TABLE) if http == status), errors.Internal)


def _details(call: Any) -> list[any_pb2.Any]:
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return list(status_pb2.Status.FromString(value).details)
    return []


def _read_detail(detail: any_pb2.Any, keywords: dict[str, Any]) -> None:
    if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
        info = error_details_pb2.ErrorInfo()
        detail.Unpack(info)
        keywords |= {"reason": info.reason, "metadata": dict(info.metadata)}
    elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
        bad = error_details_pb2.BadRequest()
        detail.Unpack(bad)
        keywords["violations"] = tuple(FieldViolation(item.field, item.description) for item in bad.field_violations)
    elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
        retry = error_details_pb2.RetryInfo()
        detail.Unpack(retry)
        keywords["retry_after_s"] = retry.retry_delay.ToNanoseconds() / 1e9
