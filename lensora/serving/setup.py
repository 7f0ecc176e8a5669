"""What Triton tells one instance of a model when it makes it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lensora.core.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class Setup:
    """A model's configuration, as far as its code cares."""

    name: str
    version: str
    device: str
    """``cpu``, or ``cuda:N`` of an instance of kind GPU."""

    parameters: Mapping[str, str]
    """Of config.pbtxt, strings; an environment variable ``<MODEL NAME>_<PARAMETER>``, upper case, wins."""

    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    """By name: Triton's data type, e.g. ``TYPE_FP32``, and the shape without the batch; -1 is any."""

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Setup:
        """From ``TritonPythonModel.initialize``'s argument."""
        config: dict[str, Any] = json.loads(args["model_config"])
        name = args["model_name"]
        is_gpu = args["model_instance_kind"] == "GPU"
        given = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        chosen = {key: os.environ.get(_variable(name, key), value) for key, value in given.items()}
        outputs = {
            output["name"]: (output["data_type"], tuple(int(side) for side in output["dims"]))
            for output in config["output"]
        }
        device = f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu"
        return cls(name, args["model_version"], device, chosen, outputs)

    def text(self, parameter: str) -> str:
        """A parameter.

        Raises:
            FailedPrecondition: the configuration has none of that name, or an empty one.
        """
        value = self.parameters.get(parameter, "")
        if not value:
            raise FailedPrecondition(
                f"{self.name}: set the parameter {parameter} in its config, or {_variable(self.name, parameter)}",
                reason="MODEL_PARAMETER",
            )
        return value

    def number(self, parameter: str) -> int:
        """A parameter that is a whole number.

        Raises:
            FailedPrecondition: it is missing, or is none.
        """
        value = self.text(parameter)
        try:
            return int(value)
        except ValueError:
            raise FailedPrecondition(
                f"{self.name}: the parameter {parameter} is a whole number, not {value!r}", reason="MODEL_PARAMETER"
            ) from None


def _variable(name: str, parameter: str) -> str:
    return f"{name}_{parameter}".upper()
