"""Every value is described, and every default is one that the schema knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import yaml

from tests.helm.chart import CASES, CHART, values_file

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """With what it refers to, one level deep; what is said on the spot wins."""
    for part in schema.get("allOf", []):
        if "$ref" in part:
            schema = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]] | schema
    return schema


def _objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All places of the schema that a value can be at."""
    schema = _resolved(schema)
    yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from _objects(inner, f"{path}.{key}")
    if isinstance(extra := schema.get("additionalProperties"), dict) and path == ".services":
        yield from _objects(extra, f"{path}.*")


def test_every_value_is_described() -> None:
    places = dict(_objects(SCHEMA))
    assert len(places) > 150
    for path, schema in places.items():
        assert len(schema.get("description", "")) > 5, path


def test_nothing_unknown_is_taken() -> None:
    for path, schema in _objects(SCHEMA):
        if schema.get("type") == "object" and path != ".global":
            assert "additionalProperties" in schema, path


def test_every_default_has_its_place() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    places = dict(_objects(SCHEMA))

    def check(value: Any, path: str) -> None:
        assert path in places, path
        if isinstance(value, dict) and places[path].get("properties"):
            for key, inner in value.items():
                check(inner, f"{path}.{key}")

    for key, value in values.items():
        if key != "services":
            check(value, f".{key}")
    for entry in values["services"].values():
        check(entry, ".services.*")


def test_every_value_has_a_default() -> None:
    """So that values.yaml shows all there is."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def check(schema: dict[str, Any], value: Any, path: str) -> None:
        for key, inner in _resolved(schema).get("properties", {}).items():
            if (path, key) in ((".serviceDefaults", "port"), ("", "global")) or path.endswith(
                (".nodeSelector", ".resources")
            ):
                continue
            if (path, key) in ((".gateway", "digest"), (".triton.gpu", "nodeSelector")):
                continue
            assert key in value, f"{path}.{key}"
            if isinstance(value[key], dict) and key != "services":
                check(inner, value[key], f"{path}.{key}")

    check(SCHEMA, values, "")


def test_the_cases_fit_as_they_are() -> None:
    """The schema as such is sound, and cases are no accident of merging; each says only what it changes."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert CASES
    for case in CASES:
        jsonschema.validate(yaml.safe_load(values_file(case).read_text()), _of_parts(SCHEMA))


def _of_parts(schema: Any) -> Any:
    """The schema without what it says of values as a whole: what is required, and what hangs on what."""
    if isinstance(schema, dict):
        whole = ("required", "allOf")
        return {key: _of_parts(value) for key, value in schema.items() if key not in whole}
    return [_of_parts(item) for item in schema] if isinstance(schema, list) else schema
