"""What has pods: it is selected by exactly those who mean it, runs hardened, and is told settings that there are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from controlplane.settings import Settings as ControlplaneSettings
from gateway.settings import Settings as GatewaySettings
from lensora.runtime import mesh
from services.background.settings import Settings as BackgroundSettings
from services.detect.settings import Settings as DetectSettings
from services.mesh3d.settings import Settings as Mesh3dSettings
from services.render.settings import Settings as RenderSettings
from services.segment.settings import Settings as SegmentSettings
from tests.helm.chart import (
    CASES,
    ROOT,
    SERVICES,
    Document,
    component,
    containers,
    environment,
    matches,
    name,
    of_kind,
    pod,
    quantity,
    rendered,
    rendered_with,
    workloads,
)

SETTINGS = {
    "gateway": GatewaySettings,
    "controlplane": ControlplaneSettings,
    "detect": DetectSettings,
    "segment": SegmentSettings,
    "background": BackgroundSettings,
    "mesh3d": Mesh3dSettings,
    "render": RenderSettings,
}
FOREIGN = {
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),  # obstore's
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRIC_EXPORT_INTERVAL"),  # OpenTelemetry's
    *("GRPC_XDS_BOOTSTRAP_CONFIG", "NVIDIA_DRIVER_CAPABILITIES"),
    "GATEWAY_RELIGHT_TARGET",  # of the case with a sixth service, which this repository does not have
}
each_case = pytest.mark.parametrize("case", CASES)


def pod_labels(workload: Document) -> Mapping[str, str]:
    return pod(workload)["metadata"]["labels"]  # type: ignore[no-any-return]


@each_case
def test_a_workload_selects_its_own_pods_and_no_others(case: str) -> None:
    documents = workloads(rendered(case))
    owners = of_kind(rendered(case), "Deployment", "StatefulSet")
    assert owners
    for owner, other in itertools.product(owners, documents):
        assert matches(owner["spec"]["selector"], pod_labels(other)) == (owner is other), (name(owner), name(other))


@each_case
def test_services_budgets_and_spreads_select_what_they_name(case: str) -> None:
    documents = rendered(case)
    for service in of_kind(documents, "Service"):
        chosen = [
            one
            for one in workloads(documents)
            if matches({"matchLabels": service["spec"]["selector"]}, pod_labels(one))
        ]
        assert {component(one) for one in chosen} == {component(service)}, name(service)
        assert len(chosen) == 1 or not name(service).endswith(("-stable", "-canary"))
    for budget in of_kind(documents, "PodDisruptionBudget"):
        chosen = [one for one in workloads(documents) if matches(budget["spec"]["selector"], pod_labels(one))]
        assert [name(one) for one in chosen] == [name(budget)]
    for workload in workloads(documents):
        for spread in pod(workload)["spec"].get("topologySpreadConstraints", []):
            assert matches(spread["labelSelector"], pod_labels(workload)), name(workload)


@each_case
def test_tracks_have_labels_that_tell_them_apart(case: str) -> None:
    for deployment in of_kind(rendered(case), "Deployment"):
        track = deployment["spec"]["selector"]["matchLabels"].get("lensora.studio/track")
        expected = name(deployment).rpartition("-")[2]
        assert track == (expected if expected in ("stable", "canary") else None)


@each_case
def test_ports_and_probes_are_there(case: str) -> None:
    documents = rendered(case)
    for service in of_kind(documents, "Service"):
        for workload in workloads(documents):
            if matches({"matchLabels": service["spec"]["selector"]}, pod_labels(workload)):
                ports = {port["name"] for box in pod(workload)["spec"]["containers"] for port in box["ports"]}
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for workload, container in containers(documents):
        numbers = {port["containerPort"]: port["name"] for port in container.get("ports", [])}
        assert len(numbers) == len(container.get("ports", []))
        if workload["kind"] in ("Job", "Pod"):
            continue
        for kind in ("readinessProbe", "livenessProbe"):
            probe = container[kind]
            if component(workload) in SETTINGS:
                assert numbers[probe["grpc"]["port"]] == "health"
            else:
                assert ("grpc" in probe and probe["grpc"]["port"] in numbers) or (
                    probe["httpGet"]["port"] in numbers.values()
                )


@each_case
def test_the_stop_leaves_time_to_drain(case: str) -> None:
    for workload, container in containers(rendered(case)):
        if component(workload) not in SETTINGS or workload["kind"] == "Job":
            continue
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = float(environment(container).get(f"{component(workload).upper()}_DRAIN_SECONDS", 0))
        assert pod(workload)["spec"]["terminationGracePeriodSeconds"] > before + drain


@each_case
def test_quantities_parse_and_requests_fit_limits(case: str) -> None:
    for workload, container in containers(rendered(case)):
        resources = container["resources"]
        assert quantity(resources["limits"]["memory"]) > 0, name(workload)
        for kind, request in resources["requests"].items():
            assert 0 < quantity(request) <= quantity(resources["limits"].get(kind, "1000T"))
        for volume in pod(workload)["spec"].get("volumes", []):
            if "emptyDir" in volume:
                assert quantity(volume["emptyDir"]["sizeLimit"]) > 0
    for claim in of_kind(rendered(case), "PersistentVolumeClaim"):
        assert quantity(claim["spec"]["resources"]["requests"]["storage"]) > 0


@each_case
def test_pods_meet_the_restricted_standard(case: str) -> None:
    for workload, container in containers(rendered(case)):
        spec, inside = pod(workload)["spec"], container["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inside["allowPrivilegeEscalation"] is False
        assert inside["readOnlyRootFilesystem"] is True
        assert inside["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


@each_case
def test_only_the_control_plane_has_a_token_and_a_narrow_role(case: str) -> None:
    documents = rendered(case)
    accounts = {name(account): account for account in of_kind(documents, "ServiceAccount")}
    for workload in workloads(documents):
        spec = pod(workload)["spec"]
        assert spec["automountServiceAccountToken"] is (component(workload) == "controlplane"), name(workload)
        if workload["kind"] != "Pod":
            assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert not of_kind(documents, "ClusterRole", "ClusterRoleBinding", "Secret")
    for role in of_kind(documents, "Role"):
        assert component(role) == "controlplane"
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert (
                rule["resources"] == ["endpointslices"]
                or rule["resourceNames"] == ["x-lensora-mesh"]
                or case == "hardened"
            )
        assert [subject["name"] for subject in of_kind(documents, "RoleBinding")[0]["subjects"]] == [name(role)]


@each_case
def test_settings_are_the_programs_own(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable of ours is one that the program reads, and takes."""
    for workload, container in containers(rendered(case)):
        settings: Any = SETTINGS.get("gateway" if component(workload) == "migrate" else component(workload))
        if settings is None:
            continue
        prefix = settings.model_config["env_prefix"]
        variables = [entry["name"] for entry in container["env"]]
        assert len(variables) == len(set(variables)), name(workload)
        for variable in variables:
            known = variable.removeprefix(prefix).lower() in settings.model_fields
            assert known or variable in FOREIGN, (name(workload), variable)
        with monkeypatch.context() as patch:
            for variable, value in environment(container).items():
                patch.setenv(variable, value)
            settings()


@each_case
def test_engines_are_files_of_their_service(case: str) -> None:
    for workload, container in containers(rendered(case)):
        service = component(workload)
        if service in SERVICES:
            engine = environment(container)[f"{service.upper()}_ENGINE"]
            assert (ROOT / "services" / service / "engines" / f"{engine}.py").exists(), (name(workload), engine)


@each_case
def test_listeners_are_the_ports_that_are_shown(case: str) -> None:
    for workload, container in containers(rendered(case)):
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        prefix, told = component(workload).upper(), environment(container)
        for variable, port in (("LISTEN", "grpc"), ("HTTP_LISTEN", "http"), ("HEALTH_LISTEN", "health")):
            if f"{prefix}_{variable}" in told:
                shown = ports[port] if port in ports else ports["xds"]
                assert told[f"{prefix}_{variable}"] == f"0.0.0.0:{shown}"


@each_case
def test_addresses_lead_to_services_that_are_there(case: str) -> None:
    documents = rendered(case)
    there = {
        f"{name(service)}:{port['port']}"
        for service in of_kind(documents, "Service")
        for port in service["spec"]["ports"]
    }
    asked = set()
    for _, container in containers(documents):
        told = environment(container)
        asked |= {value for variable, value in told.items() if variable.endswith("_TARGET") and ".models:" not in value}
        asked |= {
            value.removeprefix("http://")
            for variable, value in told.items()
            if variable == "OTEL_EXPORTER_OTLP_ENDPOINT"
        }
        if bootstrap := told.get("GRPC_XDS_BOOTSTRAP_CONFIG"):
            asked |= {server["server_uri"].removeprefix("dns:///") for server in json.loads(bootstrap)["xds_servers"]}
        asked |= {word[7:].partition("/")[0] for word in container.get("command", []) if word.startswith("http://")}
    assert asked
    assert asked <= there


@each_case
def test_what_is_mounted_is_there(case: str) -> None:
    documents = rendered(case)
    maps = {name(document) for document in of_kind(documents, "ConfigMap")}
    claims = {name(document) for document in of_kind(documents, "PersistentVolumeClaim")} | {"lensora-models"}
    for workload, container in containers(documents):
        volumes = {volume["name"]: volume for volume in pod(workload)["spec"].get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes.keys(), name(workload)
        for volume in volumes.values():
            assert volume.get("configMap", {}).get("name") in maps | {None}
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in claims | {None}


@each_case
def test_certificates_are_read_where_they_are_mounted(case: str) -> None:
    """And cert-manager, where it is asked, makes exactly those that are mounted."""
    documents = rendered(case)
    secrets = set()
    for workload, container in containers(documents):
        if component(workload) not in SETTINGS:
            continue
        folder = environment(container).get(f"{component(workload).upper()}_CERTIFICATES")
        mounted = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "tls"}
        assert mounted == ({folder} if folder else set())
        assert bool(folder) == (case not in ("embedded", "gateway-api"))
        secrets |= {
            volume["secret"]["secretName"] for volume in pod(workload)["spec"]["volumes"] if volume["name"] == "tls"
        }
    made = of_kind(documents, "Certificate")
    operator = {"studio-operator-tls"}
    assert {one["spec"]["secretName"] for one in made} == (secrets | operator if case == "hardened" else set())
    for one in made:
        assert ("localhost" in one["spec"]["dnsNames"]) == (component(one) == "controlplane")
        assert one["spec"]["dnsNames"][0] == f"{component(one)}.lensora.internal"


@each_case
def test_a_budget_never_stops_a_drain(case: str) -> None:
    documents = rendered(case)
    scalers = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]
        for one in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject")
    }
    for budget in of_kind(documents, "PodDisruptionBudget"):
        target = next(one for one in of_kind(documents, "Deployment", "StatefulSet") if name(one) == name(budget))
        scaler = scalers.get(name(target), {})
        least = target["spec"].get("replicas") or scaler.get("minReplicas") or scaler["minReplicaCount"]
        assert 1 <= budget["spec"]["maxUnavailable"] < least


@each_case
def test_what_is_scaled_is_told_no_replicas(case: str) -> None:
    documents = rendered(case)
    scaled = [
        one["spec"]["scaleTargetRef"]["name"] for one in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert bool(scaled) == (case in ("hpa", "keda"))
    for owner in of_kind(documents, "Deployment", "StatefulSet"):
        assert ("replicas" in owner["spec"]) == (name(owner) not in scaled), name(owner)
    assert set(scaled) <= {name(one) for one in of_kind(documents, "Deployment")}


def test_gpus_are_for_triton_and_render() -> None:
    for workload, container in containers(rendered("gpu")):
        spec, wants = pod(workload)["spec"], component(workload) in ("triton", "render")
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == wants
        assert ("nodeSelector" in spec) == wants
        assert bool(spec.get("tolerations")) == wants
        if component(workload) == "render":
            assert "graphics" in environment(container)["NVIDIA_DRIVER_CAPABILITIES"]
            assert spec["runtimeClassName"] == "nvidia"
    assert not any("nvidia.com/gpu" in box["resources"]["limits"] for _, box in containers(rendered("triton-cpu")))


def test_a_gateway_owns_its_jobs_by_its_name() -> None:
    [gateway] = [
        one for one in workloads(rendered("external")) if component(one) == "gateway" and one["kind"] == "StatefulSet"
    ]
    [container] = pod(gateway)["spec"]["containers"]
    [entry] = [entry for entry in container["env"] if entry["name"] == "GATEWAY_EXECUTOR_ID"]
    assert entry["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    told = json.loads(environment(container)["GRPC_XDS_BOOTSTRAP_CONFIG"])
    ours = mesh.bootstrap("dns:///x-lensora-controlplane:18000", "$(GATEWAY_EXECUTOR_ID)", "/etc/lensora/tls", 60.0)
    assert told == json.loads(ours)
    assert container["env"].index(entry) == 0, "what is filled in must be told before"


def test_the_tables_are_brought_up_to_date_before_anything_new_runs() -> None:
    jobs = {case: of_kind(rendered(case), "Job") for case in ("external", "embedded")}
    [job] = jobs["external"]
    assert jobs["embedded"] == []
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert pod(job)["spec"]["containers"][0]["command"] == ["lensora", "db", "upgrade"]
    for case, migrates in (("external", "false"), ("embedded", "true")):
        [gateway] = of_kind(rendered(case), "StatefulSet")
        assert environment(pod(gateway)["spec"]["containers"][0])["GATEWAY_MIGRATE"] == migrates


def test_a_canary_differs_in_what_was_said_and_nothing_else() -> None:
    boxes = {name(one): pod(one)["spec"]["containers"][0] for one in of_kind(rendered("canary-all"), "Deployment")}
    differences = {
        "detect": {"image"},
        "segment": {"env"},
        "background": {"image"},
        "mesh3d": {"env"},
        "render": {"image"},
    }
    for service in SERVICES:
        stable, canary = boxes[f"x-lensora-{service}-stable"], boxes[f"x-lensora-{service}-canary"]
        assert {key for key in stable if stable[key] != canary[key]} == differences[service]
    assert environment(boxes["x-lensora-segment-canary"])["SEGMENT_MATTE"] == "isnet"
    assert environment(boxes["x-lensora-mesh3d-canary"])["MESH3D_ENGINE"] == "trellis"


def test_values_that_are_empty_win_over_defaults() -> None:
    documents = rendered_with(
        {
            "serviceDefaults": {"internet": True, "preStopSeconds": 9, "gpu": {"count": 2}},
            "services": {"segment": {"replicas": 0, "preStopSeconds": 0, "internet": False}},
        }
    )
    segment = next(one for one in of_kind(documents, "Deployment") if name(one) == "x-lensora-segment-stable")
    assert segment["spec"]["replicas"] == 0
    assert pod(segment)["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 0
    policies = {name(one): json.dumps(one) for one in of_kind(documents, "NetworkPolicy")}
    assert "ipBlock" not in policies["x-lensora-segment"]
    assert "ipBlock" in policies["x-lensora-detect"]
