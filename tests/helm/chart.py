"""What the tests ask of the chart: rendered by a real helm, once for each set of values."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/lensora"
TOOLS = ROOT / ".cache/tools"
HELMS = ("helm3", "helm4")
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
SERVICES = ("detect", "segment", "background", "mesh3d", "render")

Document = dict[str, Any]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command's end, however it ends."""
    return subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, cwd=ROOT)


def values_file(case: str) -> Path:
    """The values of a case in ``ci``."""
    return CHART / "ci" / f"{case}-values.yaml"


@functools.cache
def rendered(case: str, helm: str = "helm4") -> tuple[Document, ...]:
    """All that helm makes of a case."""
    return _template(helm, values_file(case))


def rendered_with(values: Mapping[str, Any]) -> tuple[Document, ...]:
    """All that helm makes of ``values`` on top of the external stores' case."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        return _template("helm4", values_file("external"), Path(file.name))


def refusal(values: Mapping[str, Any], base: str = "external", helm: str = "helm4") -> str:
    """What helm says to ``values`` that it must not take."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        end = run(TOOLS / helm, "template", "x", CHART, "-f", values_file(base), "-f", file.name)
    assert end.returncode != 0, f"taken: {values}"
    return end.stderr


def _template(helm: str, *files: Path) -> tuple[Document, ...]:
    flags = [word for file in files for word in ("--values", str(file))]
    end = run(TOOLS / helm, "template", "x", CHART, "--namespace", "studio", *flags)
    assert end.returncode == 0, end.stderr
    return tuple(document for document in yaml.safe_load_all(end.stdout) if document)


def of_kind(documents: tuple[Document, ...], *kinds: str) -> list[Document]:
    """Those documents."""
    return [document for document in documents if document["kind"] in kinds]


def name(document: Document) -> str:
    """Its name."""
    return str(document["metadata"]["name"])


def workloads(documents: tuple[Document, ...]) -> list[Document]:
    """All that has pods: Deployments, StatefulSets, Jobs, and pods by themselves."""
    return of_kind(documents, "Deployment", "StatefulSet", "Job", "Pod")


def pod(workload: Document) -> Document:
    """Metadata and spec of its pods."""
    return workload if workload["kind"] == "Pod" else workload["spec"]["template"]


def component(document: Document) -> str:
    """Which part of the system it belongs to."""
    return str(document["metadata"]["labels"]["app.kubernetes.io/component"])


def containers(documents: tuple[Document, ...]) -> Iterator[tuple[Document, Document]]:
    """(workload, container) of all."""
    for workload in workloads(documents):
        for container in pod(workload)["spec"]["containers"]:
            yield workload, container


def environment(container: Document) -> dict[str, str]:
    """Its variables that have plain values."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def matches(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector, of equalities alone, selects these labels."""
    assert set(selector) <= {"matchLabels"}, "a kind of selector that these tests do not know"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def quantity(value: str | float) -> float:
    """A Kubernetes quantity as a number.

    Raises:
        ValueError: it is none.
    """
    units = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    text = str(value)
    for suffix in sorted(units, key=len, reverse=True):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * units[suffix]
    return float(text)
