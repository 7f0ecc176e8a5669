"""From the mesh to xDS resources: pure, so that all replicas say the same under the same versions.

A service ``s`` has three clusters. ``s/stable`` is the stable track alone. ``s/canary`` is the canary with the stable
track behind it, because gRPC chooses a cluster once for a call: a canary that is ejected or gone would else fail its
share. ``s/canary-only`` is for ``x-canary: always``, whose caller wants the truth about the canary.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf import any_pb2, duration_pb2, wrappers_pb2
from google.protobuf.message import Message

from controlplane import wire
from controlplane.model import TRACKS, Mesh, Outliers, Service
from controlplane.wire import xds_pb2
from lensora.runtime.mesh import CANARY, PROVIDER, RETRIED, identity

Places = Mapping[tuple[str, str], tuple[tuple[str, int], ...]]
"""By service and track: (IP address, port) of every instance."""

CLUSTERS = {"stable": ("stable",), "canary": ("canary", "stable"), "canary-only": ("canary",)}
"""Clusters of a service: the tracks to try, best first."""

M = TypeVar("M", bound=Message)


def _new(kind: type[M], **fields: Any) -> M:
    """A message from values, where a dict stands for a message within; the stubs know only the former."""
    return kind(**fields)


_ADS = _new(xds_pb2.ConfigSource, ads={})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources at one time."""

    resources: Mapping[str, Mapping[str, any_pb2.Any]] = field(default_factory=dict)
    """By type URL and name."""

    def pick(self, type_url: str, names: Iterable[str]) -> tuple[str, list[any_pb2.Any]]:
        """Those of ``names`` that there are, and their version: it follows from the content alone."""
        known = self.resources.get(type_url, {})
        found = [known[name] for name in sorted(set(names)) if name in known]
        digest = hashlib.sha256()
        for resource in found:
            digest.update(len(resource.value).to_bytes(8, "big") + resource.value)
        return digest.hexdigest()[:12], found


def snapshot(mesh: Mesh, places: Places) -> Snapshot:
    """The resources that make clients do what ``mesh`` says, with instances where ``places`` says."""
    resources: dict[str, dict[str, any_pb2.Any]] = {type_url: {} for type_url in wire.KINDS}
    for name, service in mesh.services.items():
        resources[wire.LISTENER][name] = wire.packed(_listener(name))
        resources[wire.ROUTE][name] = wire.packed(_routes(name, service))
        for suffix, tracks in CLUSTERS.items():
            cluster = f"{name}/{suffix}"
            resources[wire.CLUSTER][cluster] = wire.packed(_cluster(cluster, name, service, tls=mesh.tls))
            instances = [(track, places.get((name, track), ())) for track in tracks]
            resources[wire.ENDPOINT][cluster] = wire.packed(_assignment(cluster, instances))
    return Snapshot(resources)


def _listener(name: str) -> xds_pb2.Listener:
    manager = _new(
        xds_pb2.HttpConnectionManager,
        rds={"config_source": _ADS, "route_config_name": name},
        http_filters=[_new(xds_pb2.Extension, name="router", http_filter=any_pb2.Any(type_url=wire.ROUTER))],
    )
    return _new(xds_pb2.Listener, name=name, api_listener={"api_listener": wire.packed(manager)})


def _routes(name: str, service: Service) -> xds_pb2.RouteConfiguration:
    rest: dict[str, Any] = {
        "max_stream_duration": {"max_stream_duration": _duration(service.timeout_s)},
        "retry_policy": _retry(service),
    }
    shares = [
        {"name": f"{name}/{track}", "weight": _count(service.track(track).weight)}
        for track in TRACKS
        if service.track(track).weight
    ]
    routes: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        (_when("always"), {"cluster": f"{name}/canary-only"}),
        (_when("never"), {"cluster": f"{name}/stable"}),
        ([], {"weighted_clusters": {"clusters": shares}}),
    ]
    host = _new(
        xds_pb2.VirtualHost,
        name=name,
        domains=["*"],
        routes=[{"match": {"prefix": "", "headers": headers}, "route": {**rest, **to}} for headers, to in routes],
    )
    return _new(xds_pb2.RouteConfiguration, name=name, virtual_hosts=[host])


def _when(value: str) -> list[dict[str, Any]]:
    return [{"name": CANARY, "string_match": {"exact": value}}]


def _retry(service: Service) -> xds_pb2.RouteAction.RetryPolicy | None:
    if service.retry.attempts == 1:
        return None
    longest = max(service.retry.backoff_s, service.retry.max_backoff_s)
    return _new(
        xds_pb2.RouteAction.RetryPolicy,
        retry_on=",".join(RETRIED).lower(),
        num_retries=_count(service.retry.attempts - 1),
        retry_back_off={"base_interval": _duration(service.retry.backoff_s), "max_interval": _duration(longest)},
    )


def _cluster(cluster: str, name: str, service: Service, *, tls: bool) -> xds_pb2.Cluster:
    return _new(
        xds_pb2.Cluster,
        name=cluster,
        type=xds_pb2.Cluster.EDS,
        eds_cluster_config={"eds_config": _ADS},
        circuit_breakers={"thresholds": [{"max_requests": _count(service.max_requests)}]},
        outlier_detection=_outliers(service.outliers, alone=cluster == f"{name}/stable"),
        transport_socket=_tls(name) if tls else None,
        lrs_server={"self": {}},
    )


def _outliers(outliers: Outliers | None, *, alone: bool) -> xds_pb2.Cluster.OutlierDetection | None:
    """A track with nothing behind it keeps at least half of its instances; the canary may lose all."""
    if outliers is None:
        return None
    return _new(
        xds_pb2.Cluster.OutlierDetection,
        interval=_duration(outliers.interval_s),
        base_ejection_time=_duration(outliers.ejection_s),
        max_ejection_percent=_count(50 if alone else 100),
        enforcing_success_rate=_count(0),
        failure_percentage_threshold=_count(outliers.failure_percent),
        enforcing_failure_percentage=_count(100),
        failure_percentage_minimum_hosts=_count(2 if alone else 1),
        failure_percentage_request_volume=_count(outliers.min_requests),
    )


def _tls(name: str) -> xds_pb2.Extension:
    context = _new(
        xds_pb2.UpstreamTlsContext,
        common_tls_context={
            "tls_certificate_provider_instance": {"instance_name": PROVIDER},
            "validation_context": {
                "ca_certificate_provider_instance": {"instance_name": PROVIDER},
                "match_subject_alt_names": [{"exact": identity(name)}],
            },
        },
    )
    return _new(xds_pb2.Extension, name="envoy.transport_sockets.tls", transport_socket=wire.packed(context))


def _assignment(
    cluster: str, instances: list[tuple[str, tuple[tuple[str, int], ...]]]
) -> xds_pb2.ClusterLoadAssignment:
    """Every track is a locality, so that clients report loads by track.

    What clients would refuse is left out: an address that is there twice, and priorities with gaps.
    """
    groups: list[tuple[str, list[tuple[str, int]]]] = []
    seen: set[tuple[str, int]] = set()
    for track, places in instances:
        if fresh := sorted(set(places) - seen):
            groups.append((track, fresh))
            seen.update(fresh)
    return _new(
        xds_pb2.ClusterLoadAssignment,
        cluster_name=cluster,
        endpoints=[
            {
                "locality": {"sub_zone": track},
                "lb_endpoints": [_endpoint(host, port) for host, port in places],
                "load_balancing_weight": _count(1),
                "priority": priority,
            }
            for priority, (track, places) in enumerate(groups)
        ],
    )


def _endpoint(host: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}


def _count(value: int) -> wrappers_pb2.UInt32Value:
    return wrappers_pb2.UInt32Value(value=value)


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromTimedelta(datetime.timedelta(seconds=seconds))
    return duration
