"""The images, run as a cluster would run them: hardened, in the mesh, and disturbed in all the usual ways."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lensora.client import Output, Studio
from lensora.runtime import tls
from lensora.runtime.mesh import identity
from lensora.type.v1 import engine_pb2, engine_pb2_grpc
from tests.containers.system import MEMBERS, SERVICES, System, image, podman

pytestmark = pytest.mark.containers

PHOTO = Path(".cache/photos/air-balloon.png")
_KNOWN_SECONDS = 5.0
"""The control plane looks names up every two; who was refused by a container that did not listen yet waits one more."""

_ROLLOUT_SECONDS = 150.0
"""Longer than all services take to be replaced."""

OUTPUT = Output(width=320, height=256, duration_s=2)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")).running() as one:
        yield one


@pytest.fixture
def studio(system: System) -> Iterator[Studio]:
    with Studio("", f"http://{system.address('gateway')}:8080") as one:
        yield one


def await_ready(system: System) -> None:
    """Until the gateway finds all that it needs."""
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection(system.address("gateway"), 8080, timeout=10)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status == 200:
            return
        assert time.monotonic() < deadline, text
        time.sleep(0.5)


def test_a_job_from_end_to_end(system: System, studio: Studio) -> None:
    await_ready(system)
    job = studio.init(PHOTO).transform(background="on a marble countertop", camera="turntable", output=OUTPUT)
    result = job.result()
    assert result.mesh is not None
    assert result.mesh.verdict in ("volume", "thin")
    for kind in ("video", "glb", "still", "cutout"):
        assert job.download(kind, system.folder / kind).size > 1000


@pytest.mark.parametrize("name", MEMBERS)
def test_an_image_holds_its_own_and_no_more(name: str) -> None:
    found = json.loads(podman("image", "inspect", image(name)))[0]
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["serve"]
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "-m", "lensora.runtime.probe"]
    listed = podman(
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        '["python", "-c", "import os; print(*os.listdir(\'/app\'), *os.listdir(\'/app/services\'))"]',
        image(name),
    )
    ours = {"gateway": {"gateway", "cli", "controlplane"}, "controlplane": {"controlplane"}}
    assert set(listed.split()) - {"__pycache__"} == {"lensora", "services"} | ours.get(name, {"__init__.py", name})
    missing = (
        "import importlib.util as u; print([m for m in ('pip', 'setuptools', 'torch', 'pytest') if u.find_spec(m)])"
    )
    assert (
        podman(
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            json.dumps(["/opt/venv/bin/python", "-c", missing]),
            image(name),
        )
        == "[]"
    )


def test_nothing_is_written_but_where_it_may(system: System) -> None:
    for name in MEMBERS:
        end = system.run_in(name, "python", "-c", "import os; print(os.getuid()); open('/app/x', 'w')")
        assert end.stdout.strip() == "10001"
        assert "Read-only file system" in end.stderr


def test_who_shows_no_certificate_is_refused(system: System) -> None:
    for name, port in {**SERVICES, "controlplane": 18000}.items():
        with grpc.insecure_channel(f"{system.address(name)}:{port}") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                _get_engine(channel)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        authority = (system.folder / "tls" / name / "ca.crt").read_bytes()
        mine = tls.channel_credentials(system.folder / "tls" / "gateway")
        known = (("grpc.ssl_target_name_override", identity(name)),)
        for credentials, welcome in ((mine, True), (grpc.ssl_channel_credentials(authority), False)):
            with grpc.secure_channel(f"{system.address(name)}:{port}", credentials, known) as channel:
                assert _is_heard(channel) is welcome, name


def test_the_port_for_probes_serves_nothing_else(system: System) -> None:
    with grpc.insecure_channel(f"{system.address('mesh3d')}:18002") as channel:
        with pytest.raises(grpc.RpcError) as refused:
            _get_engine(channel)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_canary_takes_its_share_and_the_header_rules(system: System) -> None:
    system.start("mesh3d-canary", of="mesh3d", newer=True)
    system.await_well("mesh3d-canary")
    try:
        for weight in (10, 50, 100):
            system.weigh("mesh3d", weight)
            time.sleep(3)  # names of new endpoints are looked up every two seconds
            found = system.called(system.calling("mesh3d", 1000, 5))
            assert (found["errors"], found["fell_back"]) == ({}, [])
            assert abs(found["engines"].get("newer", 0) / 10 - weight) <= 8, found
        for header, engine in (("always", "newer"), ("never", "embedded")):
            assert system.called(system.calling("mesh3d", 50, 1, header))["engines"] == {engine: 50}
    finally:
        system.weigh("mesh3d", 0)
        system.stop("mesh3d-canary")


def test_a_canary_that_fails_half_its_calls_is_ejected(system: System) -> None:
    system.start("mesh3d-canary", of="gateway", entrypoint=["python", "/tests/faulty.py"])
    try:
        system.weigh("mesh3d", 50)
        time.sleep(4)
        found = system.called(system.calling("mesh3d", 3000, 20))
        # half of what it gets until it is ejected; without that, a quarter of all
        assert 0 < sum(found["errors"].values()) < 300, found
        assert found["engines"]["embedded"] > 2300
    finally:
        system.weigh("mesh3d", 0)
        system.kill("mesh3d-canary")


def test_nobody_notices_a_rolling_restart(system: System) -> None:
    """One new container beside the old one, then the old one drains: as the chart's maxSurge does."""
    calling = system.calling(",".join(SERVICES), 1000, _ROLLOUT_SECONDS)
    for name in SERVICES:
        system.start(f"{name}-new", of=name, alias=name)
        system.await_well(f"{name}-new")
        time.sleep(_KNOWN_SECONDS)
        system.stop(name)
        system.start(name)
        system.await_well(name)
        time.sleep(_KNOWN_SECONDS)
        system.stop(f"{name}-new")
    assert calling.poll() is None, "calls went on all the time"
    found = system.called(calling)
    assert found["errors"] == {}
    assert sum(found["engines"].values()) == 5000


def test_a_container_that_is_killed_costs_no_job(system: System, studio: Studio) -> None:
    await_ready(system)
    job = studio.init(PHOTO).transform(background="transparent", camera="cinematic", output=OUTPUT, seed=7)
    for event in job.watch():
        if (event.step, event.state) == ("generating-3d", "running") and event.fraction > 0:
            break
    system.kill("mesh3d")
    system.start("mesh3d")
    done = job.result()
    assert done.status == "succeeded"
    assert [step.reused for step in done.steps if step.name == "generating-3d"] == [False]


def test_nobody_notices_that_the_control_plane_is_gone(system: System) -> None:
    calling = system.calling("detect,mesh3d", 500, 15)
    system.connected(calling)
    system.kill("controlplane")
    found = system.called(calling)
    assert (found["errors"], found["fell_back"]) == ({}, [])
    cold = system.called(system.calling("detect", 20, 1))
    assert (cold["errors"], cold["fell_back"]) == ({}, ["detect"])
    system.start("controlplane")
    system.await_well("controlplane")
    assert system.called(system.calling("detect", 20, 1))["fell_back"] == []


def test_nobody_notices_a_new_certificate(system: System) -> None:
    address = (system.address("detect"), SERVICES["detect"])
    before = ssl.get_server_certificate(address, timeout=10)
    calling = system.calling("detect", 1000, 15)
    time.sleep(4)
    for name in ("detect", "gateway", "controlplane"):
        system.certify(name)
    found = system.called(calling)
    assert found["errors"] == {}
    after = ssl.get_server_certificate(address, timeout=10)
    assert after != before
    assert after.strip() == (system.folder / "tls/detect/tls.crt").read_text().strip()
    assert system.called(system.calling("detect", 20, 1))["errors"] == {}


def _get_engine(channel: grpc.Channel) -> Any:
    stub: Any = engine_pb2_grpc.EngineServiceStub(channel)
    return stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=10)


def _is_heard(channel: grpc.Channel) -> bool:
    """Whether a call comes through, be it to a server that does not know it."""
    try:
        _get_engine(channel)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNIMPLEMENTED
    return True
