"""Reports of several clients, added up."""

from __future__ import annotations

from controlplane.loads import Loads
from controlplane.wire import xds_pb2


def report(
    cluster: str, sub_zone: str, ok: int, errors: int, running: int = 0, dropped: int = 0
) -> xds_pb2.LoadStatsRequest:
    """One client's, of one cluster."""
    request = xds_pb2.LoadStatsRequest()
    stats = request.cluster_stats.add(cluster_name=cluster, total_dropped_requests=dropped)
    stats.upstream_locality_stats.add(
        locality=xds_pb2.Locality(sub_zone=sub_zone),
        total_successful_requests=ok,
        total_error_requests=errors,
        total_requests_in_progress=running,
        total_issued_requests=ok + errors,
    )
    return request


def test_counts_add_up_and_the_present_is_that_of_who_is_there() -> None:
    loads = Loads()
    loads.add("one", report("a/stable", "stable", 5, 1, running=2))
    loads.add("two", report("a/stable", "stable", 3, 0, running=1, dropped=4))
    loads.add("one", report("a/stable", "stable", 1, 0, running=0))
    load = loads.load("a", "stable")
    assert (load.issued, load.succeeded, load.failed, load.dropped, load.running) == (10, 9, 1, 4, 1)
    loads.forget("two")
    assert (loads.load("a", "stable").issued, loads.load("a", "stable").running) == (10, 0)


def test_a_canary_that_is_avoided_is_seen_by_where_its_calls_went() -> None:
    loads = Loads()
    loads.add("one", report("a/canary", "canary", 5, 5))
    assert not loads.load("a", "canary").avoided
    loads.add("one", report("a/canary", "stable", 7, 0))
    canary, stable = loads.load("a", "canary"), loads.load("a", "stable")
    assert (canary.issued, canary.diverted, canary.avoided, stable.issued) == (10, 7, True, 7)
    loads.add("one", report("a/canary", "canary", 1, 0))
    assert not loads.load("a", "canary").avoided and loads.load("a", "canary").diverted == 7
