"""What clients report of their calls (xDS load reports), added up by service and track; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.wire import xds_pb2

_MAX_CLUSTERS = 1000
"""Of one report, and of all services and tracks together: what is more is no mesh of ours."""


@dataclass(slots=True)
class Load:
    """Calls to one track, since this replica runs."""

    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    dropped: int = 0
    """Refused by the circuit breaker."""

    diverted: int = 0
    """Meant for the canary, and made to the stable track because no canary could be had."""

    running: int = 0
    """In the newest reports of all clients that are connected."""

    avoided: bool = False
    """Whether a newest report tells of calls that were diverted."""


@dataclass(slots=True)
class Loads:
    """All of them."""

    totals: dict[tuple[str, str], Load] = field(default_factory=dict)
    """By service and track."""

    _newest: dict[str, dict[tuple[str, str], Load]] = field(default_factory=dict)

    def add(self, stream: str, request: xds_pb2.LoadStatsRequest) -> dict[tuple[str, str], Load]:
        """Take one client's report of the time since its last; returns it by service and track."""
        report = _read(request)
        self._newest[stream] = report
        for key, load in report.items():
            if key not in self.totals and len(self.totals) >= _MAX_CLUSTERS:
                continue
            total = self.totals.setdefault(key, Load())
            for name in ("issued", "succeeded", "failed", "dropped", "diverted"):
                setattr(total, name, getattr(total, name) + getattr(load, name))
        return report

    def forget(self, stream: str) -> None:
        """The client has gone; what it did remains counted."""
        self._newest.pop(stream, None)

    def load(self, service: str, track: str) -> Load:
        """A copy, with what the newest reports say of the present."""
        total = self.totals.get((service, track), Load())
        newest = [report[service, track] for report in self._newest.values() if (service, track) in report]
        return Load(
            total.issued,
            total.succeeded,
            total.failed,
            total.dropped,
            total.diverted,
            running=sum(load.running for load in newest),
            avoided=any(load.diverted for load in newest),
        )


def _read(request: xds_pb2.LoadStatsRequest) -> dict[tuple[str, str], Load]:
    report: dict[tuple[str, str], Load] = {}
    for cluster in request.cluster_stats[:_MAX_CLUSTERS]:
        service, _, suffix = cluster.cluster_name.rpartition("/")
        meant = "stable" if suffix == "stable" else "canary"
        report.setdefault((service, meant), Load()).dropped += cluster.total_dropped_requests
        for locality in cluster.upstream_locality_stats:
            track = locality.locality.sub_zone
            load = report.setdefault((service, track), Load())
            load.issued += locality.total_issued_requests
            load.succeeded += locality.total_successful_requests
            load.failed += locality.total_error_requests
            load.running += locality.total_requests_in_progress
            if track != meant:
                report.setdefault((service, meant), Load()).diverted += locality.total_issued_requests
    return report
