"""What crosses Triton in words, and what a model is told of itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lensora.core import errors
from lensora.core.errors import FailedPrecondition, LensoraError
from lensora.core.models import ModelMissing
from lensora.serving import wire
from lensora.serving.setup import Setup

KINDS = [kind for kind in LensoraError.__subclasses__() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_crosses(kind: type[LensoraError]) -> None:
    told = wire.read_error(f"in request 3: {wire.error_text(kind('a [b/c] sentence', reason='WHY'))}")
    assert (type(told), told.reason, told.message) == (kind, "WHY", "a [b/c] sentence")  # type: ignore[union-attr]


def test_a_more_special_error_crosses_as_its_kind() -> None:
    told = wire.read_error(wire.error_text(ModelMissing("not here")))
    assert told is not None
    assert (type(told), told.reason) == (FailedPrecondition, "MODEL_MISSING")


def test_the_lines_of_code_that_triton_adds_are_left_out() -> None:
    said = (
        f"TritonModelException: {wire.error_text(ModelMissing('not here'))}\n\nAt:\n  /tree/model.py(42): initialize\n;"
    )
    told = wire.read_error(said)
    assert told is not None and told.message == "not here"


@pytest.mark.parametrize(
    "text", ["", "no", "[NoSuchError/WHY] x", "[LensoraError/WHY] x", "[annotations/WHY] x", "[x] y"]
)
def test_other_words_are_not_ours(text: str) -> None:
    assert wire.read_error(text) is None


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("TYPE_FP32", "float32"),
        ("TYPE_FP16", "float16"),
        ("TYPE_UINT8", "uint8"),
        ("TYPE_INT64", "int64"),
        ("TYPE_BOOL", "bool"),
    ],
)
def test_zeros_of_tritons_types(kind: str, dtype: str) -> None:
    made = wire.zeros((2, 3), kind)
    assert made.dtype == np.dtype(dtype) and made.shape == (2, 3) and not made.any()


def test_empty_texts() -> None:
    assert wire.zeros((1, 2), "TYPE_STRING").tolist() == [[b"", b""]]


def told(kind: str = "CPU", **parameters: str) -> dict[str, Any]:
    config = {
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["-1", "7"]}],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }
    return {
        "model_config": json.dumps(config), "model_name": "echo", "model_version": "3",
        "model_instance_kind": kind, "model_instance_device_id": "1",
    }  # fmt: skip


def test_a_models_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_WEIGHTS", "/elsewhere")
    setup = Setup.read(told(threads="2", weights="/here"))
    assert (setup.name, setup.version, setup.device) == ("echo", "3", "cpu")
    assert (setup.number("threads"), setup.text("weights")) == (2, "/elsewhere")
    assert setup.outputs == {"y": ("TYPE_FP32", (-1, 7))}
    assert Setup.read(told("GPU")).device == "cuda:1"


def test_parameters_that_are_missing_or_no_numbers_say_what_to_set() -> None:
    setup = Setup.read(told(threads="many"))
    with pytest.raises(FailedPrecondition, match="parameter weights in its config, or ECHO_WEIGHTS"):
        setup.text("weights")
    with pytest.raises(FailedPrecondition, match="a whole number, not 'many'"):
        setup.number("threads")
