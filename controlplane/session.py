"""One client's stream of the aggregated discovery service, without I/O: what came in, and what is to be said.

The rules are those of the "state of the world" variant (https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol):
a request that repeats the nonce of the last response acknowledges or, with ``error_detail``, refuses it; one with an
older nonce is stale and means nothing; a subscription is whatever the last request named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controlplane import wire
from controlplane.resources import Snapshot
from controlplane.wire import xds_pb2

_MAX_NAMES = 1000
_MAX_REASON = 300


@dataclass(slots=True)
class Subscription:
    """One kind of resource, as one client has it."""

    names: tuple[str, ...] = ()
    sent: str | None = None
    """Version last sent."""

    nonce: str = ""
    acknowledged: str = ""
    """Version last acknowledged."""

    refused: str = ""
    """Why the client refused what was last sent."""


@dataclass(slots=True, eq=False)
class Session:
    """What one stream has been told."""

    snapshot: Snapshot | None = None
    """Nothing is answered before there is one: no resources at all would be taken for their end."""

    node: str = ""
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """By type URL."""

    _count: int = 0

    def request(self, request: xds_pb2.DiscoveryRequest) -> xds_pb2.DiscoveryResponse | None:
        """Take a request; returns the answer, if it needs one."""
        if request.node.id:
            self.node = request.node.id[:200]
        if request.type_url not in wire.KINDS:
            return None  # what we have none of; a client may wait for it for ever
        one = self.subscriptions.setdefault(request.type_url, Subscription())
        if request.response_nonce and request.response_nonce != one.nonce:
            return None
        if request.response_nonce:
            _settle(one, request)
        names = tuple(request.resource_names[:_MAX_NAMES])
        fresh = one.sent is None or names != one.names
        one.names = names
        return self._response(self.snapshot, request.type_url, one) if fresh and self.snapshot else None

    def update(self, snapshot: Snapshot) -> Iterator[xds_pb2.DiscoveryResponse]:
        """Take a new snapshot; yields what is news to this client."""
        self.snapshot = snapshot
        for type_url in wire.KINDS:
            one = self.subscriptions.get(type_url)
            if one is not None and one.sent != snapshot.pick(type_url, one.names)[0]:
                yield self._response(snapshot, type_url, one)

    def _response(self, snapshot: Snapshot, type_url: str, one: Subscription) -> xds_pb2.DiscoveryResponse:
        version, resources = snapshot.pick(type_url, one.names)
        self._count += 1
        one.sent, one.nonce, one.refused = version, f"{self._count}", ""
        return xds_pb2.DiscoveryResponse(version_info=version, resources=resources, type_url=type_url, nonce=one.nonce)


def _settle(one: Subscription, request: xds_pb2.DiscoveryRequest) -> None:
    if request.HasField("error_detail"):
        one.refused = request.error_detail.message[:_MAX_REASON] or "the client gave no reason"
    else:
        one.acknowledged, one.refused = request.version_info, ""
