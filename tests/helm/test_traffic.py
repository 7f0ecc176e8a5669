"""Who may talk to whom, and how calls are divided."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controlplane import model
from tests.helm.chart import (
    CASES,
    SERVICES,
    Document,
    component,
    matches,
    name,
    of_kind,
    pod,
    rendered,
    rendered_with,
    values_file,
    workloads,
)

PORTS = dict(zip(SERVICES, range(50051, 50056), strict=True)) | {"relight": 50056}
each_case = pytest.mark.parametrize("case", CASES)

Edge = tuple[str, str, int]
"""Caller, called, port; of a peer outside it is told what kind it is: `anybody`, `internet`, `named`."""


@each_case
def test_policies_allow_exactly_the_call_graph(case: str) -> None:
    documents = rendered(case)
    out, into = _edges(documents, "egress"), _edges(documents, "ingress")
    inside = {edge for edge in out if edge[1] in _components(documents)}
    assert inside == {edge for edge in into if edge[0] in _components(documents)}, "one side of an edge is missing"
    assert out | into == _call_graph(case, documents)


@each_case
def test_what_no_policy_allows_is_denied(case: str) -> None:
    documents = rendered(case)
    [deny] = [one for one in of_kind(documents, "NetworkPolicy") if name(one).endswith("-default-deny")]
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny["spec"].keys()
    for workload in workloads(documents):
        assert matches(deny["spec"]["podSelector"], pod(workload)["metadata"]["labels"]), name(workload)


def test_without_policies_there_are_none() -> None:
    assert not of_kind(rendered_with({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


@each_case
def test_the_control_plane_takes_the_mesh(case: str) -> None:
    """With weights that add up, each track where its Service is."""
    documents = rendered(case)
    maps = [one for one in of_kind(documents, "ConfigMap") if name(one).endswith("-mesh")]
    assert bool(maps) == (case != "gateway-api")
    services = {name(one): one for one in of_kind(documents, "Service")}
    tracks = {
        name(one) for one in of_kind(documents, "Deployment") if "lensora.studio/track" in one["metadata"]["labels"]
    }
    for config in maps:
        mesh = model.parse(config["data"]["mesh.yaml"])
        said = set()
        for service in mesh.services.values():
            assert service.stable.weight + service.canary.weight == 100
            said |= {track.service for track in (service.stable, service.canary) if track.service}
        assert said == tracks
        for one in said:
            assert services[str(one)]["spec"]["clusterIP"] == "None"
            assert [port["name"] for port in services[str(one)]["spec"]["ports"]] == ["grpc"]


def test_the_mesh_says_what_the_values_say() -> None:
    [config] = [one for one in of_kind(rendered("canary-all"), "ConfigMap") if name(one).endswith("-mesh")]
    mesh = model.parse(config["data"]["mesh.yaml"])
    assert {name: service.canary.weight for name, service in mesh.services.items()} == {
        "detect": 5,
        "segment": 50,
        "background": 0,
        "mesh3d": 25,
        "render": 100,
    }
    assert mesh.tls
    assert mesh.services["detect"].timeout_s == 20
    assert mesh.services["mesh3d"].retry.attempts == 3


def test_gateway_api_routes_divide_as_the_values_say() -> None:
    documents = rendered("gateway-api")
    services = {name(one): {port["port"] for port in one["spec"]["ports"]} for one in of_kind(documents, "Service")}
    routes = of_kind(documents, "GRPCRoute")
    assert {component(route) for route in routes} == set(SERVICES)
    for route in routes:
        [parent] = route["spec"]["parentRefs"]
        assert parent["port"] in services[parent["name"]]
        *by_header, rest = route["spec"]["rules"]
        weights = {backend["name"].rpartition("-")[2]: backend["weight"] for backend in rest["backendRefs"]}
        assert weights == ({"stable": 90, "canary": 10} if component(route) == "mesh3d" else {"stable": 100})
        assert {_header(rule): rule["backendRefs"][0]["name"].rpartition("-")[2] for rule in by_header} == (
            {"always": "canary", "never": "stable"} if component(route) == "mesh3d" else {"never": "stable"}
        )
        for rule in route["spec"]["rules"]:
            assert all(backend["port"] in services[backend["name"]] for backend in rule["backendRefs"])


def _header(rule: Document) -> str:
    [match] = rule["matches"]
    [header] = match["headers"]
    assert header["name"] == "x-canary"
    return str(header["value"])


def _components(documents: tuple[Document, ...]) -> set[str]:
    return {component(workload) for workload in workloads(documents)}


def _edges(documents: tuple[Document, ...], direction: str) -> set[Edge]:
    """All that the policies of components allow one way; but for DNS, which all may ask."""
    found = set()
    for policy in of_kind(documents, "NetworkPolicy"):
        if component(policy) == "all":
            continue
        chosen = {
            component(one)
            for one in workloads(documents)
            if matches(policy["spec"]["podSelector"], pod(one)["metadata"]["labels"])
        }
        assert chosen == {component(policy)}, "a policy selects what it is not about, or nothing"
        for rule in policy["spec"].get(direction, []):
            for peer in _peers(documents, rule.get("to" if direction == "egress" else "from")):
                for port in rule["ports"]:
                    ends = (component(policy), peer) if direction == "egress" else (peer, component(policy))
                    found.add((*ends, int(port["port"])))
    return found


def _peers(documents: tuple[Document, ...], peers: list[Document] | None) -> set[str]:
    found: set[str] = set()
    for peer in peers or [{}]:
        if selector := peer.get("podSelector"):
            chosen = {
                component(one) for one in workloads(documents) if matches(selector, pod(one)["metadata"]["labels"])
            }
            assert chosen, f"nothing is selected by {selector}"
            found |= chosen
        elif block := peer.get("ipBlock"):
            found.add("internet" if block["cidr"] == "0.0.0.0/0" else "named")
            assert block["cidr"] != "0.0.0.0/0" or {"10.0.0.0/8", "169.254.0.0/16"} <= set(block["except"])
        else:
            found.add("named" if peer else "anybody")
    return found


def _call_graph(case: str, documents: tuple[Document, ...]) -> set[Edge]:
    """Told once more, from what the system is, not from how the chart makes it."""
    values: dict[str, Any] = yaml.safe_load(values_file(case).read_text())
    external = values.get("stores", {}).get("kind", "external") == "external"
    there = "named" if case == "hardened" else "anybody"
    services = [*SERVICES, *(["relight"] if case == "sixth-service" else [])]
    graph = {("gateway", service, PORTS[service]) for service in services}
    graph |= {("background", "internet", 443), ("gateway", "internet", 443), ("test", "gateway", 8080)}
    graph |= {(there, "gateway", 8080), (there, "gateway", 50050)}
    if external:
        graph |= {(caller, there, 443) for caller in (*services, "gateway")}
        graph |= {(caller, there, 5432) for caller in ("gateway", "migrate")}
    tellers = {*services, "gateway"}
    if case != "gateway-api":
        graph |= {("gateway", "controlplane", 18000), ("controlplane", there, 6443 if case == "hardened" else 443)}
        tellers.add("controlplane")
    if "collector" in _components(documents):
        graph |= {(teller, "collector", 4317) for teller in tellers} | {(there, "collector", 8889)}
        if values.get("collector", {}).get("tracesTo"):
            graph.add(("collector", "anybody", 4317))
    if values.get("triton", {}).get("enabled"):
        graph.add((there, "triton", 8002))
        engines = {service: entry.get("engine") for service, entry in values.get("services", {}).items()}
        graph |= {(service, "triton", 8001) for service, engine in engines.items() if engine not in (None, "embedded")}
    return graph
