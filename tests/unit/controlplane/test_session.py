"""The protocol's rules, message by message."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2

from controlplane import wire
from controlplane.model import Mesh
from controlplane.resources import Snapshot, snapshot
from controlplane.session import Session
from controlplane.wire import xds_pb2

MESH = Mesh.model_validate({"services": {"a": {"stable": {"weight": 100}}, "b": {"stable": {"weight": 100}}}})
HERE, THERE = ("10.0.0.1", 1), ("10.0.0.2", 1)


def at(*places: tuple[str, int]) -> Snapshot:
    """The mesh with service a there."""
    return snapshot(MESH, {("a", "stable"): places})


def ask(type_url: str, *names: str, nonce: str = "", version: str = "", error: str = "") -> Any:
    """A request."""
    request = xds_pb2.DiscoveryRequest(
        node=xds_pb2.Node(id="me"),
        type_url=type_url,
        resource_names=names,
        response_nonce=nonce,
        version_info=version,
    )
    if error:
        request.error_detail.message = error
    return request


def test_a_subscription_is_answered_once_and_acknowledged() -> None:
    session = Session(at(HERE))
    answer = session.request(ask(wire.CLUSTER, "a/stable", "a/canary", "nobody/stable"))
    assert answer is not None
    assert [resource.type_url for resource in answer.resources] == [wire.CLUSTER] * 2, "what is not there is left out"
    one = session.subscriptions[wire.CLUSTER]
    assert (one.sent, one.acknowledged) == (answer.version_info, "")
    acknowledged = ask(wire.CLUSTER, "a/stable", "a/canary", "nobody/stable", nonce=answer.nonce, version="v")
    assert session.request(acknowledged) is None
    assert (one.acknowledged, session.node) == ("v", "me")


def test_other_names_are_answered_and_a_stale_nonce_is_not() -> None:
    session = Session(at(HERE))
    first = session.request(ask(wire.CLUSTER, "a/stable"))
    assert first is not None
    second = session.request(ask(wire.CLUSTER, "a/stable", "b/stable", nonce=first.nonce, version="v1"))
    assert second is not None and second.nonce != first.nonce and len(second.resources) == 2
    assert session.request(ask(wire.CLUSTER, nonce=first.nonce, version="old")) is None
    assert session.subscriptions[wire.CLUSTER].names == ("a/stable", "b/stable")
    assert session.subscriptions[wire.CLUSTER].acknowledged == "v1"


def test_a_refusal_is_kept_and_not_answered_with_the_same_again() -> None:
    session = Session(at(HERE))
    answer = session.request(ask(wire.ENDPOINT, "a/stable"))
    assert answer is not None
    assert session.request(ask(wire.ENDPOINT, "a/stable", nonce=answer.nonce, error="no such thing")) is None
    one = session.subscriptions[wire.ENDPOINT]
    assert (one.refused, one.acknowledged) == ("no such thing", "")
    assert not list(session.update(at(HERE)))
    (news,) = session.update(at(THERE))
    assert one.refused == "" and news.type_url == wire.ENDPOINT


def test_news_goes_to_whom_it_concerns_and_what_is_referred_to_comes_first() -> None:
    session = Session(at(HERE))
    for type_url, name in ((wire.ENDPOINT, "b/stable"), (wire.ROUTE, "a"), (wire.CLUSTER, "a/stable")):
        session.request(ask(type_url, name))
    assert not list(session.update(at(THERE))), "the instances of a are no news to who asked for those of b"
    changed = Mesh.model_validate({"tls": True, "services": {"a": {"stable": {"weight": 100}, "timeout_s": 5}}})
    kinds = [response.type_url for response in session.update(snapshot(changed, {}))]
    assert kinds == [wire.CLUSTER, wire.ENDPOINT, wire.ROUTE]


def test_nothing_is_said_before_there_is_a_mesh() -> None:
    session = Session()
    assert session.request(ask(wire.LISTENER, "a")) is None
    assert session.request(ask("type.googleapis.com/unknown", "a")) is None
    (answer,) = session.update(at(HERE))
    assert len(answer.resources) == 1


def test_replicas_agree_on_versions() -> None:
    one, other = at(HERE, THERE), at(THERE, HERE, HERE)
    assert one == other and one.pick(wire.ENDPOINT, ["a/stable"])[0] == other.pick(wire.ENDPOINT, ["a/stable"])[0]
    assert one.pick(wire.ENDPOINT, ["a/stable"])[0] != at(HERE).pick(wire.ENDPOINT, ["a/stable"])[0]


def test_an_address_is_offered_once() -> None:
    made = snapshot(MESH, {("a", "stable"): (HERE, HERE), ("a", "canary"): (HERE, THERE)})
    (packed,) = made.pick(wire.ENDPOINT, ["a/canary"])[1]
    assert isinstance(packed, any_pb2.Any)
    assignment = xds_pb2.ClusterLoadAssignment.FromString(packed.value)
    assert [(group.locality.sub_zone, group.priority, len(group.lb_endpoints)) for group in assignment.endpoints] == [
        ("canary", 0, 2)
    ]
