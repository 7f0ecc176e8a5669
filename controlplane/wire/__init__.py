"""Messages on the wire; ``xds.proto`` says why they are our own, and this which public types they are."""

from __future__ import annotations

from google.protobuf import any_pb2
from google.protobuf.message import Message

from controlplane.wire import xds_pb2

PREFIX = "type.googleapis.com/"

LISTENER = f"{PREFIX}envoy.config.listener.v3.Listener"
ROUTE = f"{PREFIX}envoy.config.route.v3.RouteConfiguration"
CLUSTER = f"{PREFIX}envoy.config.cluster.v3.Cluster"
ENDPOINT = f"{PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment"

KINDS = {CLUSTER: "clusters", ENDPOINT: "endpoints", LISTENER: "listeners", ROUTE: "routes"}
"""What to call the types, in the order in which news of them is sent: who refers comes after what it refers to."""

DISCOVERY_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
LOAD_SERVICE = "envoy.service.load_stats.v3.LoadReportingService"

ROUTER = f"{PREFIX}envoy.extensions.filters.http.router.v3.Router"
"""The filter that every listener ends with; it has no fields that gRPC reads."""

_TYPES: dict[type[Message], str] = {
    xds_pb2.Listener: LISTENER,
    xds_pb2.RouteConfiguration: ROUTE,
    xds_pb2.Cluster: CLUSTER,
    xds_pb2.ClusterLoadAssignment: ENDPOINT,
    xds_pb2.HttpConnectionManager: (
        f"{PREFIX}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    ),
    xds_pb2.UpstreamTlsContext: f"{PREFIX}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
}


def packed(message: Message) -> any_pb2.Any:
    """The message under its public type's name; the same message always gives the same bytes."""
    return any_pb2.Any(type_url=_TYPES[type(message)], value=message.SerializeToString(deterministic=True))
