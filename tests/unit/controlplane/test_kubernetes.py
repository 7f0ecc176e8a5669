"""The Kubernetes source against a server that speaks list and watch; no cluster is imagined beyond that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.model import Track, parse
from controlplane.settings import Settings
from controlplane.sources import kubernetes
from controlplane.sources.kubernetes import KubernetesSource, instances
from controlplane.state import State
from lensora.core.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.unit.controlplane.api import NAMESPACE, TOKEN, Api, serving

MESH = """\
services:
  mesh3d:  # of the chart
    stable: {weight: 100, service: mesh3d-stable, port: grpc}
    canary: {weight: 0, service: mesh3d-canary, port: grpc}
"""


def slices(service: str, *addresses: str, **endpoint: Any) -> dict[str, Any]:
    """An EndpointSlice."""
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "health", "port": 8081}, {"name": "grpc", "port": 50054}],
        "endpoints": [{"addresses": [address], **endpoint} for address in addresses],
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a ServiceAccount."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "namespace").write_text(NAMESPACE)
    return Settings(source="kubernetes", service_account=tmp_path, config_map="mesh")


@contextlib.asynccontextmanager
async def running(api: Api, settings: Settings) -> AsyncIterator[tuple[State, KubernetesSource]]:
    """A source that follows the API."""
    async with serving(api) as url:
        state = State()
        source = KubernetesSource(state, settings.model_copy(update={"api_url": url}))
        task = asyncio.create_task(source.run())
        try:
            yield state, source
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(holds: Callable[[], Any]) -> None:
    """Wait for it."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_config_and_instances_are_listed_and_then_followed(settings: Settings) -> None:
    api = Api()
    api.put("configmaps", "mesh", data={"mesh.yaml": MESH})
    api.put("endpointslices", "a", **slices("mesh3d-stable", "10.0.0.2", "10.0.0.1"))
    async with running(api, settings) as (state, _):
        await asyncio.wait_for(state.ready.wait(), 20)
        key = ("mesh3d", "stable")
        assert state.places[key] == (("10.0.0.1", 50054), ("10.0.0.2", 50054))
        api.put("endpointslices", "a", **slices("mesh3d-stable", "10.0.0.3"))
        await until(lambda: state.places[key] == (("10.0.0.3", 50054),))
        api.tell("endpointslices", "BOOKMARK", {"metadata": {"resourceVersion": "1000"}})
        api.put("endpointslices", "b", **slices("mesh3d-canary", "10.0.0.9"))
        await until(lambda: state.places[("mesh3d", "canary")])
        api.delete("endpointslices", "b")
        await until(lambda: not state.places[("mesh3d", "canary")])
        api.put("configmaps", "mesh", data={"mesh.yaml": MESH.replace("100", "90").replace("0,", "10,", 1)})
        await until(lambda: state.refused)
        assert state.mesh is not None and state.mesh.services["mesh3d"].stable.weight == 100


async def test_a_watch_that_breaks_or_is_too_old_is_begun_anew(settings: Settings) -> None:
    api = Api()
    api.put("configmaps", "mesh", data={"mesh.yaml": MESH})
    async with running(api, settings) as (state, _):
        await asyncio.wait_for(state.ready.wait(), 20)
        await until(lambda: len(api._watches) == 2)
        api.break_watches()
        await until(lambda: len(api.lists) >= 4 and len(api._watches) == 2)
        api.tell("endpointslices", "ERROR", {"code": 410})
        await until(lambda: len(api.lists) >= 5)
        api.put("endpointslices", "a", **slices("mesh3d-stable", "10.0.0.1"))
        await until(lambda: state.places[("mesh3d", "stable")])


async def test_nothing_is_told_before_the_instances_are_known_and_trouble_is_outlived(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_PAUSE_SECONDS", 0.01)
    token = settings.service_account / "token"
    token.write_text("expired")
    api = Api()
    async with running(api, settings) as (state, _):
        await until(lambda: api.unauthorized >= 4)
        token.write_text(TOKEN)
        await until(lambda: "there is no ConfigMap mesh" in state.refused)
        assert state.snapshot is None
        api.put("configmaps", "mesh", data={"mesh.yaml": MESH})
        await asyncio.wait_for(state.ready.wait(), 20)
        assert not state.refused


async def test_weights_are_patched_into_the_config_map(settings: Settings) -> None:
    api = Api()
    api.put("configmaps", "mesh", data={"mesh.yaml": MESH})
    async with running(api, settings) as (state, source):
        await asyncio.wait_for(state.ready.wait(), 20)
        await source.set_weights("mesh3d", {"stable": 75, "canary": 25})
        await until(lambda: state.mesh and state.mesh.services["mesh3d"].canary.weight == 25)
        assert "# of the chart" in api.objects["configmaps"]["mesh"]["data"]["mesh.yaml"]
        with pytest.raises(InvalidArgument):
            await source.set_weights("mesh3d", {"stable": 75, "canary": 26})
        with pytest.raises(NotFound):
            await source.set_weights("paint", {"stable": 75, "canary": 25})
        (settings.service_account / "token").write_text("expired")
        with pytest.raises(FailedPrecondition) as refused:
            await source.set_weights("mesh3d", {"stable": 100, "canary": 0})
        assert refused.value.reason == "MESH_READ_ONLY"


def test_instances_are_those_that_are_ready_of_the_named_port() -> None:
    found = {
        "ready": slices("s", "10.0.0.1", conditions={"ready": True}),
        "unknown": slices("s", "10.0.0.2"),
        "ending": slices("s", "10.0.0.3", conditions={"ready": False, "serving": True, "terminating": True}),
        "other": slices("t", "10.0.0.4"),
        "name": {**slices("s", "example.org"), "addressType": "FQDN"},
    }
    assert instances(Track(weight=1, service="s", port="grpc"), found) == (("10.0.0.1", 50054), ("10.0.0.2", 50054))
    assert instances(Track(weight=1, service="s", port="nope"), found) == ()
    assert instances(Track(weight=1), found) == ()
    assert parse(MESH).services["mesh3d"].stable.port == "grpc"
