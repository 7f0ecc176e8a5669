"""Both helms take the chart, and what they make of it Kubernetes would take."""

from __future__ import annotations

import functools
import json

import jsonschema
import kubernetes_validate
import pytest

from tests.helm.chart import CASES, CHART, HELMS, TOOLS, name, refusal, rendered, run, values_file

KUBERNETES = ("1.31", "1.34", "1.37")
CRDS = {
    schema["properties"]["kind"]["const"]: schema
    for schema in (json.loads(file.read_text()) for file in (CHART.parents[1] / "tests/helm/crds").glob("*.json"))
}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", CASES)
def test_lint(case: str, helm: str) -> None:
    end = run(TOOLS / helm, "lint", "--strict", CHART, "--values", values_file(case))
    assert end.returncode == 0, end.stdout + end.stderr


@pytest.mark.parametrize("case", CASES)
def test_both_helms_render_the_same(case: str) -> None:
    three, four = ({(doc["kind"], name(doc)): doc for doc in rendered(case, helm)} for helm in HELMS)
    for key in three.keys() | four.keys():
        assert three[key] == four[key], key
    assert three.keys() == four.keys()


@pytest.mark.parametrize("case", CASES)
def test_names_are_said_once(case: str) -> None:
    keys = [(document["kind"], name(document)) for document in rendered(case)]
    assert len(keys) == len(set(keys))


@pytest.fixture
def _schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads all of Kubernetes' definitions anew for each document."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _schema_contents)


_schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


@pytest.mark.usefixtures("_schemas_read_once")
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_it(version: str) -> None:
    distinct = {json.dumps(document, sort_keys=True) for case in CASES for document in rendered(case)}
    for document in map(json.loads, sorted(distinct)):
        if document["kind"] in CRDS:  # an unknown kind that has no schema here raises below
            jsonschema.validate(document, CRDS[document["kind"]], cls=jsonschema.Draft202012Validator)
        else:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_validators_refuse() -> None:
    deployment = next(document for document in rendered("external") if document["kind"] == "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment | {"spec": deployment["spec"] | {"replica": 1}}, "1.34", strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObjects"}, "1.34", strict=True)
    assert set(CRDS) == {document["kind"] for case in CASES for document in rendered(case) if document["kind"] in CRDS}


def test_old_clusters_are_refused() -> None:
    """They have no ``sleep`` before the stop."""
    end = run(TOOLS / "helm4", "template", "x", CHART, "--kube-version", "1.29.0", "--values", values_file("external"))
    assert end.returncode != 0
    assert "1.30" in end.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 1}, "replica"),
        ({"services": {"mesh3d": {"replica": 1}}}, "replica"),
        ({"services": {"relight": {}}}, "port"),
        ({"services": {"gateway": {"port": 50057}}}, "gateway"),
        ({"services": {"Relight": {"port": 50057}}}, "Relight"),
        ({"services": {"mesh3d": {"canary": {"weight": 101}}}}, "weight"),
        ({"services": {"mesh3d": {"port": 80}}}, "port"),
        ({"services": {"mesh3d": {"resources": {"limits": {"memory": "1 GB"}}}}}, "memory"),
        ({"services": {"mesh3d": {"autoscaling": {"kind": "vpa"}}}}, "kind"),
        ({"services": {"mesh3d": {"maxUnavailable": 0}}}, "maxUnavailable"),
        ({"services": {"mesh3d": {"settings": {"Max": 1}}}}, "settings"),
        ({"services": {"mesh3d": {"digest": "sha256:beef"}}}, "digest"),
        ({"trafficMode": "istio"}, "trafficMode"),
        ({"gateway": {"signingSecret": {"existingSecret": ""}}}, "existingSecret"),
        ({"gateway": {"publicUrl": "https://studio.example.org/path"}}, "publicUrl"),
        ({"stores": {"kind": "embedded"}, "gateway": {"replicas": 2}}, "replicas"),
        ({"stores": {"database": {"existingSecret": ""}}}, "existingSecret"),
        ({"stores": {"blobs": {"url": "gs://bucket"}}}, "url"),
        ({"triton": {"enabled": True}}, "modelClaim"),
        ({"services": {"mesh3d": {"engine": "trellis2"}}}, "needs triton.enabled or triton.address"),
        ({"serviceDefaults": {"autoscaling": {"kind": "keda"}}}, "monitoring.prometheusAddress"),
    ],
)
def test_what_is_wrong_is_refused(values: dict[str, object], said: str) -> None:
    for helm in HELMS:
        assert said.lower() in refusal(values, helm=helm).lower()
