"""Real clients against the real control plane, over TLS: every rule of the mesh as a caller meets it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from controlplane import discovery, wire
from controlplane.state import State
from controlplane.wire import admin_pb2
from lensora.core.errors import LensoraError, Unavailable
from lensora.runtime.channels import open_channel
from lensora.runtime.errors import from_rpc
from lensora.runtime.server import Listener
from lensora.type.v1 import engine_pb2, engine_pb2_grpc
from tests.mesh.world import World, codes, eventually, half, running, who

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALWAYS, NEVER = {"x-canary": "always"}, {"x-canary": "never"}


def track(status: admin_pb2.GetStatusResponse, service: str, name: str) -> admin_pb2.Track:
    """One track in a status."""
    (found,) = (one for one in status.services if one.name == service)
    return next(one for one in found.tracks if one.name == name)


async def test_split_routes_and_new_weights(mesh: World) -> None:
    stable, canary = await mesh.instance("split", "stable"), await mesh.instance("split", "canary")
    mesh.configure("split", [stable], [canary], share=25)
    caller = await mesh.caller("split")
    split = who(await caller.calls(1000, workers=8, ready=True))
    assert set(split) == {"stable", "canary"} and 180 <= split["canary"] <= 320, split  # 250, five sigma
    assert who(await caller.calls(20, metadata=ALWAYS)) == {"canary": 20}
    assert who(await caller.calls(20, metadata=NEVER)) == {"stable": 20}
    async with mesh.admin() as stub:
        await stub.SetWeights(admin_pb2.SetWeightsRequest(service="split", weights={"stable": 0, "canary": 100}))
        await eventually(lambda: _only(caller.calls(20), "canary"))
        assert '"split"' in mesh.file.read_text(), "the file says so too, for the other replicas"
        for weights in ({"stable": 90, "canary": 20}, {"stable": 100}, {"stable": 60, "green": 40}):
            with pytest.raises(grpc.aio.AioRpcError) as broken:
                await stub.SetWeights(admin_pb2.SetWeightsRequest(service="split", weights=weights))
            assert broken.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.SetWeights(admin_pb2.SetWeightsRequest(service="nobody", weights={"stable": 100, "canary": 0}))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    status = await mesh.until(lambda status: track(status, "split", "stable").issued >= 700)
    assert (track(status, "split", "stable").weight, track(status, "split", "canary").weight) == (0, 100)
    assert track(status, "split", "canary").endpoints == [canary.address]
    (client,) = (one for one in status.clients if one.node.startswith("caller"))
    assert {one.kind for one in client.subscriptions} == {"listeners", "routes", "clusters", "endpoints"}
    assert all(one.acknowledged == one.sent and not one.refused for one in client.subscriptions)


async def _only(calls: object, name: str) -> bool:
    return set(who(await calls)) == {name}  # type: ignore[misc]


async def test_a_canary_that_fails_half_its_calls_is_ejected_and_its_share_goes_to_the_stable(mesh: World) -> None:
    stable, canary = await mesh.instance("eject", "stable"), await mesh.instance("eject", "canary")
    canary.fails = half
    mesh.configure(
        "eject", [stable], [canary], share=50, outliers={"interval_s": 0.3, "min_requests": 5, "ejection_s": 60}
    )
    caller = await mesh.caller("eject")
    await caller.calls(1, ready=True)
    await eventually(lambda: _only(caller.calls(40), "stable"))
    at_ejection = canary.calls
    assert codes(await caller.calls(200)) == {"OK": 200}
    assert canary.calls == at_ejection
    status = await mesh.until(lambda status: track(status, "eject", "canary").diverted > 0)
    assert track(status, "eject", "canary").failed > 0
    alone = codes(await caller.calls(5, metadata=ALWAYS))
    assert alone["OK"] < 5, "who wants the canary is not given the stable in its name"


async def test_a_canary_that_is_gone_costs_nobody_a_call(mesh: World) -> None:
    stable, canary = await mesh.instance("gone", "stable"), await mesh.instance("gone", "canary")
    mesh.configure("gone", [stable], [canary], share=50)
    caller = await mesh.caller("gone")
    assert set(who(await caller.calls(60, ready=True))) == {"stable", "canary"}
    await canary.listener.stop()
    assert who(await caller.calls(60)) == {"stable": 60}
    mesh.configure("gone", [stable], [], share=50)  # its Deployment is scaled to nothing, the weight forgotten
    await mesh.until(lambda status: not track(status, "gone", "canary").endpoints and _has_all(status))
    assert await _refused(caller.calls(1, metadata=ALWAYS))
    assert who(await caller.calls(60)) == {"stable": 60}


def _has_all(status: admin_pb2.GetStatusResponse) -> bool:
    """Whether the callers have what was last sent to them."""
    return all(
        one.acknowledged == one.sent
        for client in status.clients
        if client.node.startswith("caller")
        for one in client.subscriptions
    )


async def _refused(calls: object) -> bool:
    return set(codes(await calls)) == {"UNAVAILABLE"}  # type: ignore[misc]


async def test_unavailable_is_tried_again_and_nothing_else(mesh: World) -> None:
    one = await mesh.instance("retry", "stable")
    mesh.configure("retry", [one], retry={"attempts": 3, "backoff_s": 0.01}, outliers=None)
    caller = await mesh.caller("retry")
    one.fails = lambda number: Unavailable("scripted") if number % 3 else None
    assert codes(await caller.calls(10, ready=True)) == {"OK": 10}
    assert one.calls == 30
    one.fails, one.calls = (lambda _: LensoraError("scripted")), 0
    assert codes(await caller.calls(4)) == {"INTERNAL": 4}
    assert one.calls == 4


async def test_the_breaker_refuses_at_once_what_is_too_much(mesh: World) -> None:
    one = await mesh.instance("breaker", "stable")
    mesh.configure("breaker", [one], max_requests=3, retry={"attempts": 1})
    caller = await mesh.caller("breaker")
    await caller.calls(1, ready=True)
    one.gate = asyncio.Event()
    held = caller.order("held", calls=3, workers=3)
    await eventually(lambda: _true(one.calls == 4))
    assert codes(await caller.calls(5)) == {"UNAVAILABLE": 5}
    one.gate.set()
    assert codes(await held) == {"OK": 3}
    assert codes(await caller.calls(3, workers=3)) == {"OK": 3}
    status = await mesh.until(lambda status: track(status, "breaker", "stable").dropped)
    assert track(status, "breaker", "stable").dropped == 5


async def _true(holds: bool) -> bool:  # noqa: FBT001
    return holds


async def test_a_timeout_of_the_mesh_ends_calls(mesh: World) -> None:
    one = await mesh.instance("late", "stable")
    one.gate = asyncio.Event()
    mesh.configure("late", [one], timeout_s=0.2)
    caller = await mesh.caller("late")
    [(begun, ended, _, code)] = await caller.calls(1, ready=True)
    assert code == "DEADLINE_EXCEEDED" and ended - begun < 5, "the caller itself would wait 20 s"


async def test_a_bad_configuration_is_refused_whole_and_the_last_good_one_stays(mesh: World) -> None:
    one, other = await mesh.instance("bad", "stable"), await mesh.instance("bad", "canary")
    mesh.configure("bad", [one], [other], share=0)
    caller = await mesh.caller("bad")
    await caller.calls(1, ready=True)
    good = mesh.file.read_text()
    mesh.write(good.replace('"weight": 100', '"weight": 99'))
    status = await mesh.until(lambda status: status.refused)
    assert "weights add up to 99" in status.refused and track(status, "bad", "stable").weight == 100
    assert '"mesh refused"' in (mesh.folder / "control.log").read_text()
    assert codes(await caller.calls(10)) == {"OK": 10}
    mesh.file.unlink()
    await mesh.until(lambda status: "cannot be read" in status.refused)
    mesh.write(good)
    await mesh.until(lambda status: not status.refused)
    assert codes(await caller.calls(10)) == {"OK": 10}


async def test_who_has_been_in_the_mesh_does_not_need_the_control_plane_and_a_cold_client_has_its_static_target(
    mesh: World,
) -> None:
    one = await mesh.instance("alone", "stable")
    mesh.configure("alone", [one])
    warm = await mesh.caller("alone")
    await warm.calls(1, ready=True)
    await mesh.kill_control()
    assert codes(await warm.calls(100)) == {"OK": 100}
    cold = await mesh.caller("alone", one.address)
    assert codes(await cold.calls(10, ready=True)) == {"OK": 10}
    await eventually(lambda: _true("mesh not there" in "".join(cold.said)))
    await mesh.start_control()
    await eventually(lambda: _true("mesh is there" in "".join(cold.said)))
    assert codes(await cold.calls(10)) == {"OK": 10}
    await mesh.until(lambda status: len(status.clients) >= 2)
    other = await mesh.instance("alone", "canary")
    mesh.configure("alone", [one], [other], share=100)
    for caller in (warm, cold):
        await eventually(lambda caller=caller: _only(caller.calls(5), "canary"))  # type: ignore[misc]


async def test_a_rolling_restart_costs_no_call(mesh: World) -> None:
    both = [await mesh.instance("rolling", name) for name in ("first", "second")]
    mesh.configure("rolling", both)
    caller = await mesh.caller("rolling")
    await caller.calls(1, ready=True)
    load = caller.order("load", workers=4)
    for one in both:
        await one.restart()
        begun = one.calls
        await eventually(lambda one=one, begun=begun: _true(one.calls > begun))  # type: ignore[misc]
    calls = await caller.stop("load")
    assert codes(calls) == {"OK": len(calls)} and load.done()


async def test_certificates_are_changed_under_load(mesh: World) -> None:
    one = await mesh.instance("rotate", "stable")
    mesh.configure("rotate", [one])
    caller = await mesh.caller("rotate")
    await caller.calls(1, ready=True)
    caller.order("load", workers=2)
    (mesh.folder / "certificates/ca.key").unlink()  # then another authority issues: what is old is worth nothing now
    for name in ("rotate", "gateway", "controlplane", "operator"):
        mesh.issue(name)
    renewed = await mesh.caller("rotate")
    assert codes(await renewed.calls(5, ready=True)) == {"OK": 5}, "no server was restarted"
    calls = await caller.stop("load")
    assert codes(calls) == {"OK": len(calls)}
    await one.restart()
    await eventually(lambda: _only(caller.calls(5), "stable"))
    assert caller.process.returncode is None, "the client neither"


async def test_plaintext_and_strangers_are_refused(mesh: World) -> None:
    one = await mesh.instance("strict", "stable")
    request = engine_pb2.GetEngineRequest()
    for address in (one.address, mesh.address):
        async with open_channel(address) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await engine_pb2_grpc.EngineServiceStub(plain).GetEngine(request, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        anonymous = grpc.ssl_channel_credentials((mesh.certificates("gateway") / "ca.crt").read_bytes())  # type: ignore[operator]
        async with open_channel(address, anonymous) as unknown:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await engine_pb2_grpc.EngineServiceStub(unknown).GetEngine(request, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    async with mesh.admin("gateway") as stub:
        assert (await stub.GetStatus(admin_pb2.GetStatusRequest())).services
        with pytest.raises(grpc.aio.AioRpcError) as forbidden:
            await stub.SetWeights(admin_pb2.SetWeightsRequest(service="idle", weights={"stable": 0, "canary": 100}))
        assert from_rpc(forbidden.value).reason == "NOT_THE_OPERATOR"


async def test_an_impostor_is_not_called(mesh: World) -> None:
    impostor = await mesh.instance("impostor", "stable")
    mesh.configure("victim", [impostor])
    caller = await mesh.caller("victim", impostor.address)
    assert set(codes(await caller.calls(3))) == {"UNAVAILABLE"}


async def test_what_a_client_refuses_is_told_and_it_keeps_what_it_has(tmp_path: Path) -> None:
    state = State()
    listener = Listener("127.0.0.1:0", [])
    discovery.add_to_server(state, 0.2, listener.server)
    await listener.start()
    async with running(tmp_path) as world:
        world.address = listener.address
        one = await world.instance("toy", "stable")
        host, port = one.address.split(":")
        state.configure("services: {toy: {stable: {weight: 100}}}")
        state.place({("toy", "stable"): ((host, int(port)),)})
        caller = await world.caller("toy")
        assert codes(await caller.calls(5, ready=True)) == {"OK": 5}
        with capture_logs() as logs:
            state.place({("toy", "stable"): (("not an address", 1),)})  # which no source of ours would say
            await eventually(lambda: _true(any(line["event"] == "client refused" for line in logs)))
        (session,) = state.sessions
        assert "not an address" in session.subscriptions[wire.ENDPOINT].refused
        assert codes(await caller.calls(5)) == {"OK": 5}
        state.place({("toy", "stable"): ((host, int(port)),)})
        await eventually(lambda: _true(not session.subscriptions[wire.ENDPOINT].refused))
    await listener.stop()


async def test_it_stops_when_told(mesh: World) -> None:
    assert mesh.control is not None
    mesh.control.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(mesh.control.wait(), 10) == 0
