"""What a request may bring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lensora.core.errors import InvalidArgument
from lensora.serving.requests import picture, real, text, whole


def test_within_bounds() -> None:
    assert picture({"photo": np.zeros((2, 3, 3), np.uint8)}, "photo", 3).shape == (2, 3, 3)
    assert picture({"depth": np.zeros((32, 48), np.uint8)}, "depth", None, multiple=16).shape == (32, 48)
    assert text({"prompt": np.array(["ünï".encode()], object)}, "prompt", 3) == "ünï"
    assert whole({}, "seed", 7, 0, 9) == 7 and whole({"seed": 9}, "seed", 7, 0, 9) == 9
    assert real({"strength": 1}, "strength", 0.5, 0, 1) == 1.0


@pytest.mark.parametrize(
    "array",
    [
        None,
        np.zeros((2, 3, 3), np.float32),
        np.zeros((2, 3, 4), np.uint8),
        np.zeros((2, 3), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
        np.broadcast_to(np.zeros(1, np.uint8), (10_000, 10_000, 3)),
    ],
)
def test_no_such_picture(array: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        picture({} if array is None else {"photo": array}, "photo", 3)
    assert refused.value.reason == "BAD_TENSOR" and refused.value.violations[0].field == "photo"


def test_sides_are_multiples() -> None:
    with pytest.raises(InvalidArgument, match="multiples of 16"):
        picture({"depth": np.zeros((32, 40), np.uint8)}, "depth", None, multiple=16)


@pytest.mark.parametrize("value", [None, [], [b""], [b"abcd"], [b"\xff"], [b"a", b"b"]])
def test_no_such_text(value: list[bytes] | None) -> None:
    with pytest.raises(InvalidArgument):
        text({} if value is None else {"prompt": np.array(value, object)}, "prompt", 3)


@pytest.mark.parametrize("value", [-1, 10, 1.5, "1", None, True, [1]])
def test_no_such_number(value: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        whole({"seed": value}, "seed", 0, 0, 9)
    assert refused.value.violations[0].field == "parameters.seed"
    if value != 1.5:
        with pytest.raises(InvalidArgument):
            real({"seed": value}, "seed", 0, 0, 9)


def test_a_number_that_is_none() -> None:
    with pytest.raises(InvalidArgument):
        real({"strength": float("nan")}, "strength", 0, 0, 1)
