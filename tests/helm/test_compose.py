"""``compose.yaml``: a real compose takes it, and what it tells the programs is what they read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from controlplane import model
from lensora.runtime.mesh import bootstrap
from tests.helm.chart import ROOT, SERVICES, run
from tests.helm.test_workloads import FOREIGN, SETTINGS

OURS = (*SERVICES, "mesh3d-canary", "gateway", "controlplane")
IMAGES_OF_OTHERS = {"postgres", "s3", "collector", "triton"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """As a real compose understands it, all profiles."""
    compose = Path(sys.executable).with_name("podman-compose")
    end = run(compose, "--file", ROOT / "compose.yaml", "--profile", "triton", "--profile", "canary", "config")
    assert end.returncode == 0, end.stderr
    found: dict[str, Any] = yaml.safe_load(end.stdout)["services"]
    return found


def test_all_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, "certificates", *IMAGES_OF_OTHERS}


def test_settings_are_the_programs_own(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        settings: Any = SETTINGS[name.partition("-")[0]]
        prefix, told = settings.model_config["env_prefix"], services[name]["environment"]
        for variable in told:
            known = variable.removeprefix(prefix).lower() in settings.model_fields
            assert known or variable in FOREIGN | {"GRPC_XDS_BOOTSTRAP"}, (name, variable)
        with monkeypatch.context() as patch:
            for variable, value in told.items():
                patch.setenv(variable, str(value))
            settings()


def test_ours_run_hardened(services: dict[str, Any]) -> None:
    for name in (*OURS, "certificates"):
        one = services[name]
        assert (one["read_only"], one["cap_drop"], one["user"]) == (True, ["ALL"], "10001:10001"), name
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["image"].startswith("lensora-")


def test_only_the_loopback_is_listened_on(services: dict[str, Any]) -> None:
    for name, one in services.items():
        assert all(str(port).startswith("127.0.0.1:") for port in one.get("ports", [])), name


def test_addresses_lead_to_services(services: dict[str, Any]) -> None:
    """Of the gateway, of the mesh, and of what all are told."""
    listens = {
        f"{name}:{value.rpartition(':')[2]}"
        for name in OURS
        for variable, value in services[name]["environment"].items()
        if variable.endswith("_LISTEN")
    }
    asked = {value for variable, value in services["gateway"]["environment"].items() if variable.endswith("_TARGET")}
    mesh = model.parse((ROOT / "deploy/mesh/mesh.yaml").read_text())
    asked |= {
        end
        for service in mesh.services.values()
        for track in (service.stable, service.canary)
        for end in track.endpoints
    }
    told = json.loads((ROOT / "deploy/bootstrap.json").read_text())
    asked.add(told["xds_servers"][0]["server_uri"].removeprefix("dns:///"))
    assert asked <= listens
    assert {endpoint.partition(":")[0] for endpoint in asked} == {*SERVICES, "mesh3d-canary", "controlplane"}


def test_the_mesh_and_its_clients_agree(services: dict[str, Any]) -> None:
    mesh = model.parse((ROOT / "deploy/mesh/mesh.yaml").read_text())
    assert set(mesh.services) == set(SERVICES)
    assert mesh.tls
    text = (ROOT / "deploy/bootstrap.json").read_text()
    assert text == bootstrap("dns:///controlplane:18000", "gateway", "/etc/lensora/tls/gateway") + "\n"
    for name in OURS:
        folder = next(
            value for variable, value in services[name]["environment"].items() if variable.endswith("_CERTIFICATES")
        )
        assert folder == f"/etc/lensora/tls/{name.partition('-')[0]}"


def test_certificates_are_made_where_they_are_read(services: dict[str, Any], tmp_path: Path) -> None:
    words = [*services["certificates"]["entrypoint"], *services["certificates"]["command"]]
    assert words[0] == "lensora"
    end = CliRunner().invoke(app, [word.replace("/etc/lensora/tls", str(tmp_path)) for word in words[1:]])
    assert end.exit_code == 0, end.output
    for name in OURS:
        assert (tmp_path / name.partition("-")[0] / "tls.crt").is_file()


def test_who_waits_for_health_waits_for_somebody_who_tells_it(services: dict[str, Any]) -> None:
    for name, one in services.items():
        for other, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert other in OURS or "healthcheck" in services[other], (name, other)
            if how["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no"


def test_what_is_mounted_is_there(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
    for name, one in services.items():
        for volume in one.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in volumes or source == "./model_repository" or (ROOT / source).exists(), (name, source)


def test_triton_is_there_when_asked_for(services: dict[str, Any]) -> None:
    assert services["triton"]["profiles"] == ["triton"]
    assert not [name for name, one in services.items() if "triton" in one.get("depends_on", {})]
