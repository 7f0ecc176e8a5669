"""Alerts and the dashboard ask for numbers that somebody tells."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import CHART, ROOT, TOOLS, component, name, of_kind, rendered, run

ALERTS = CHART / "files/alerts.yaml"
DASHBOARD = CHART / "files/dashboard.json"
TRITON = {"nv_inference_queue_duration_us", "nv_inference_request_success", "nv_inference_request_failure"}
"""Of Triton's own metrics, as its documentation names them."""

_UNITS = {"s": "_seconds"}
_ENDINGS = {
    "create_counter": ("_total",),
    "create_gauge": ("",),
    "create_histogram": ("_bucket", "_count", "_sum"),
    "create_up_down_counter": ("",),
}


def _told() -> set[str]:
    """What Prometheus calls the metrics in the code, once the collector has translated them from OpenTelemetry."""
    found = set()
    sources = [
        file for folder in ("gateway", "controlplane", "lensora/runtime") for file in (ROOT / folder).rglob("*.py")
    ]
    for text in map(Path.read_text, sources):
        for call in ast.walk(ast.parse(text)) if "get_meter" in text else ():
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _ENDINGS:
                words = {word.arg: word.value for word in call.keywords}
                unit = ast.literal_eval(words["unit"]) if "unit" in words else ""
                base = str(ast.literal_eval(call.args[0])).replace(".", "_") + _UNITS.get(unit, "")
                found |= {base + ending for ending in _ENDINGS[call.func.attr]}
    return found


def _asked() -> Iterator[tuple[str, str]]:
    """(where, expression)"""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for scaler in of_kind(rendered("keda"), "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            yield name(scaler), trigger["metadata"]["query"]


@pytest.mark.parametrize(("where", "expression"), list(_asked()), ids=[where for where, _ in _asked()])
def test_numbers_that_are_asked_for_are_told(where: str, expression: str) -> None:
    metrics = set(re.findall(r"\b(?:lensora|nv)_[a-z0-9_]+", expression))
    assert metrics, where
    assert metrics <= _told() | TRITON


def test_the_words_in_labels_are_the_codes_own() -> None:
    words = {word for _, expression in _asked() for word in re.findall(r'status="([a-z]+)"', expression)}
    assert words <= {"queued", "running", "succeeded", "failed", "cancelled"}


def test_promtool_takes_the_alerts() -> None:
    end = run(TOOLS / "promtool", "check", "rules", ALERTS)
    assert end.returncode == 0, end.stdout + end.stderr


def test_each_alert_comes_when_it_should_and_not_before() -> None:
    end = run(TOOLS / "promtool", "test", "rules", ROOT / "tests/helm/alerts_test.yaml")
    assert end.returncode == 0, end.stdout + end.stderr
    tested = {
        check["alertname"]
        for test in yaml.safe_load((ROOT / "tests/helm/alerts_test.yaml").read_text())["tests"]
        for check in test["alert_rule_test"]
    }
    assert tested == {
        rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    }


def test_promtool_takes_every_query(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("rules") / "queries.yaml"
    rules = [{"record": f"query:{number}", "expr": text} for number, (_, text) in enumerate(_asked())]
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    end = run(TOOLS / "promtool", "check", "rules", file)
    assert end.returncode == 0, end.stdout + end.stderr


def test_the_chart_carries_both_as_they_are() -> None:
    documents = rendered("monitoring")
    [rule] = of_kind(documents, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
    [dashboard] = [one for one in of_kind(documents, "ConfigMap") if name(one).endswith("-dashboard")]
    assert json.loads(dashboard["data"]["lensora.json"]) == json.loads(DASHBOARD.read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_monitors_find_the_ports_that_tell() -> None:
    documents = rendered("monitoring")
    monitors = of_kind(documents, "ServiceMonitor")
    assert {component(one) for one in monitors} == {"collector", "triton"}
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        [service] = [one for one in of_kind(documents, "Service") if wanted <= one["metadata"]["labels"].items()]
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_panels_do_not_overlap() -> None:
    panels = [panel["gridPos"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    cells = [
        (x, y) for at in panels for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
