"""The rules of fields, on any input at all."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.options import JobOptions, Output, PromptBackground, SessionOptions, validated
from lensora.core.errors import InvalidArgument

GOOD = {
    "session_id": "2a91884c-1bb5-44e3-a6e0-7db0a5a56668",
    "object_index": 0,
    "background": {"type": "transparent"},
    "camera_preset": "dolly",
}


def fields(error: InvalidArgument) -> list[str]:
    return [violation.field for violation in error.violations]


@given(st.integers(-(2**31), 2**31 - 1), st.floats())
def test_a_film_is_even_bounded_and_finite_or_refused(side: int, seconds: float) -> None:
    good_side = 256 <= side <= 1920 and side % 2 == 0
    good_time = math.isfinite(seconds) and 1 <= seconds <= 12
    broken = [name for name, good in (("width", good_side), ("duration_s", good_time)) if not good]
    try:
        output = validated(Output, width=side, duration_s=seconds)
    except InvalidArgument as error:
        assert fields(error) == broken
    else:
        assert not broken
        assert (output.width, output.duration_s) == (side, seconds)


@given(st.text(max_size=1100))
def test_a_prompt_says_something_printable_or_is_refused(text: str) -> None:
    control = any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)
    good = 1 <= len(text) <= 1000 and bool(text.strip()) and not control
    try:
        assert validated(PromptBackground, prompt=text).prompt == text
    except InvalidArgument as error:
        assert fields(error) == ["prompt"]
        assert not good
    else:
        assert good


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("object_index", 1.0),
        ("object_index", True),
        ("object_index", "1"),
        ("seed", 2**63),
        ("seed", -(2**63) - 1),
        ("seed", 0.5),
        ("camera_preset", "Turntable"),
        ("session_id", 7),
        ("on_slab", "maybe"),
        ("background", {"type": "video", "url": "https://example.com"}),
        ("background", {"prompt": "no type"}),
        ("background", None),
        ("colour", "red"),
    ],
)
def test_nothing_is_guessed(field: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validated(JobOptions, **GOOD | {field: value})
    assert fields(caught.value) == [field]


def test_fields_inside_the_background_are_named_as_callers_write_them() -> None:
    for background, field in (
        ({"type": "prompt"}, "background.prompt"),
        ({"type": "prompt", "prompt": 5}, "background.prompt"),
        ({"type": "prompt", "prompt": "a", "url": "b"}, "background.url"),
        ({"type": "transparent", "prompt": "a"}, "background.prompt"),
        ({"type": "url"}, "background.url"),
        ({"type": "url", "url": "http://example.com/a.jpg"}, "background.url"),
        ({"type": "url", "url": "https://me:secret@example.com/a.jpg"}, "background.url"),
        ({"type": "url", "url": "https://0x7f.1/a.jpg"}, "background.url"),
        ({"type": "url", "url": f"https://example.com/{'a' * 2048}"}, "background.url"),
        ({"type": "url", "url": "https://example.com", "prompt": "a"}, "background.prompt"),
        ({"type": "picture", "sha256": "0" * 64}, "background.size"),
        ({"type": "picture", "sha256": "0" * 64, "size": 20_000_001}, "background.size"),
        ({"type": "picture", "sha256": "A" * 64, "size": 1}, "background.sha256"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            validated(JobOptions, **GOOD | {"background": background})
        assert fields(caught.value) == [field]


def test_max_objects_counts_from_two_to_eight() -> None:
    assert [validated(SessionOptions, max_objects=count).max_objects for count in range(2, 9)] == list(range(2, 9))
    assert SessionOptions().max_objects == 6
