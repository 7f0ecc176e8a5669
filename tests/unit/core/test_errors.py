"""Errors carry all they know through pickling, and default to stable reasons."""

from __future__ import annotations

import pickle

import pytest

from lensora.core import errors
from lensora.core.engines import EngineNotFound
from lensora.core.errors import FieldViolation, InvalidArgument, LensoraError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LensoraError)]


@pytest.mark.parametrize("kind", [*KINDS, EngineNotFound])
def test_an_error_pickles_whole(kind: type[LensoraError]) -> None:
    error = kind(
        "a sentence, with ünïcode",
        reason="SOME_REASON",
        violations=(FieldViolation("a.b", "a rule"), FieldViolation("c", "another")),
        retry_after_s=1.5,
        metadata={"step": "mesh3d"},
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind and str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_every_kind_has_a_reason_of_its_own() -> None:
    kinds = [kind for kind in KINDS if kind is not LensoraError]
    assert len(kinds) == 11 == len({kind.default_reason for kind in kinds})
    assert all(kind("x").reason == kind.default_reason for kind in kinds)


def test_the_usual_case_names_field_and_rule() -> None:
    error = InvalidArgument.of("background.url", "https only")
    assert error.message == "background.url: https only"
    assert error.violations == (FieldViolation("background.url", "https only"),)
    assert error.reason == "INVALID_ARGUMENT" and error.retry_after_s is None


def test_metadata_is_a_copy() -> None:
    given = {"a": "1"}
    error = LensoraError("x", metadata=given)
    given["a"] = "2"
    assert error.metadata == {"a": "1"}
