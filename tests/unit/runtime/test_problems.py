"""What a server tells over HTTP comes back as the same error."""

from __future__ import annotations

import pytest

from lensora.core import errors
from lensora.core.errors import LensoraError, Unavailable
from lensora.runtime.errors import from_problem, http_status, told_message, told_violations


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgument.of("seed", "a whole number"),
        errors.InvalidArgument("no more than that"),
        errors.InvalidArgument.of("image", "too large", reason="IMAGE_TOO_LARGE"),
        errors.InvalidArgument.of("image", "no picture", reason="IMAGE_WRONG_TYPE"),
        errors.NotFound("no such job", reason="JOB_NOT_FOUND"),
        errors.AlreadyExists("used before", reason="IDEMPOTENCY_KEY_REUSED"),
        errors.FailedPrecondition("expired", reason="SESSION_EXPIRED"),
        errors.FailedPrecondition("no credits", reason="INSUFFICIENT_CREDITS"),
        errors.FailedPrecondition("not yet", reason="JOB_NOT_SUCCEEDED"),
        errors.ResourceExhausted("wait", reason="RATE_LIMITED", retry_after_s=3.0),
        errors.Unauthenticated("no key"),
        errors.Unavailable("down", retry_after_s=2.0),
        errors.DeadlineExceeded("late"),
        errors.DeadlineExceeded("slow", reason="UPLOAD_TIMED_OUT"),
        errors.Unimplemented("not here"),
        errors.Internal("a defect"),
    ],
    ids=lambda error: error.reason,
)
def test_there_and_back(error: LensoraError) -> None:
    problem = {
        "code": error.reason,
        "detail": told_message(error),
        "errors": [{"field": item.field, "rule": item.description} for item in told_violations(error)],
    }
    back = from_problem(http_status(error), problem, error.retry_after_s)
    assert type(back) is type(error)
    assert (back.reason, back.message, back.violations) == (error.reason, error.message, error.violations)
    assert back.retry_after_s == error.retry_after_s


@pytest.mark.parametrize(
    ("status", "kind"), [(502, errors.Unavailable), (400, errors.InvalidArgument), (418, errors.Internal)]
)
def test_what_a_proxy_says_is_an_error_too(status: int, kind: type[LensoraError]) -> None:
    back = from_problem(status, {})
    assert type(back) is kind
    assert back.message == f"HTTP {status}"


@pytest.mark.parametrize("errors", [[{"title": "bad gateway"}], ["text"], "text", 7, {"field": "x"}, [None]])
def test_the_words_of_a_proxy_are_no_violations(errors: object) -> None:
    back = from_problem(503, {"errors": errors})
    assert isinstance(back, Unavailable) and back.violations == ()
