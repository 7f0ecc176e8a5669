"""The errors that callers may see: one tree, one meaning each.

::

    LensoraError
    ├── InvalidArgument      the request is wrong; ``violations`` names the fields and the rules
    ├── NotFound             no such session, job, object or artifact (in this account)
    ├── AlreadyExists        same idempotency key, other body
    ├── FailedPrecondition   the request is fine, the state is not (session expired, no subject found)
    ├── ResourceExhausted    rate or size limit of the system, worth a retry after ``retry_after_s``
    ├── Unauthenticated      no key, or an unknown one
    ├── Unavailable          a part is down; the same call may work in a moment
    ├── DeadlineExceeded     the time given was not enough
    ├── Cancelled            the caller, or the job, was cancelled
    ├── Unimplemented        promised by the contract, not built into this engine
    └── Internal             our fault; the message never carries a traceback

``reason`` is the stable code that programs match on (``google.rpc.ErrorInfo.reason``); ``message`` is a
sentence a person can act on. The mapping to transports is in ``lensora.runtime.errors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken rule of one request field."""

    field: str
    """Path of the field as the caller wrote it, e.g. ``background.prompt``."""

    description: str
    """The rule, and what was given instead."""


class LensoraError(Exception):
    """Base of all errors that cross a service border.

    Instances pickle, because the worker processes of mesh3d and render send them to their servers.
    """

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})

    def __reduce__(self) -> tuple[object, ...]:
        keywords = {
            "reason": self.reason,
            "violations": self.violations,
            "retry_after_s": self.retry_after_s,
            "metadata": self.metadata,
        }
        return _rebuild, (type(self), self.message, keywords)


def _rebuild(kind: type[LensoraError], message: str, keywords: dict[str, object]) -> LensoraError:
    return kind(message, **keywords)  # type: ignore[arg-type]


class InvalidArgument(LensoraError):
    """The request breaks a rule; nothing was done."""

    default_reason = "INVALID_ARGUMENT"

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> InvalidArgument:
        """The usual case: one field, one rule."""
        return cls(f"{field}: {description}", reason=reason, violations=(FieldViolation(field, description),))


class NotFound(LensoraError):
    """Nothing of that name exists for this account."""

    default_reason = "NOT_FOUND"


class AlreadyExists(LensoraError):
    """The name or idempotency key is taken by something else."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(LensoraError):
    """The request is well formed, but the state it meets forbids it."""

    default_reason = "FAILED_PRECONDITION"


class ResourceExhausted(LensoraError):
    """A limit of the system was met."""

    default_reason = "RESOURCE_EXHAUSTED"


class Unauthenticated(LensoraError):
    """The key is missing or unknown."""

    default_reason = "UNAUTHENTICATED"


class Unavailable(LensoraError):
    """A part of the system is down or still starting."""

    default_reason = "UNAVAILABLE"


class DeadlineExceeded(LensoraError):
    """The work did not end in the time given."""

    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(LensoraError):
    """The work was called off."""

    default_reason = "CANCELLED"


class Unimplemented(LensoraError):
    """A valid request that this build or engine cannot serve."""

    default_reason = "UNIMPLEMENTED"


class Internal(LensoraError):
    """A defect of ours."""

    default_reason = "INTERNAL"
