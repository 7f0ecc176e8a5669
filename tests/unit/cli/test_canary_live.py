"""Slabs that customers got, by who made them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from cli.canary.cases import Case
from cli.canary.judge import Evidence, Pair
from cli.canary.live import flatter
from cli.canary.tracks import Answer
from gateway.model import Job, MeshReport, Step
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.type.v1 import engine_pb2
from tests.unit.gateway.stories import JOB

SINCE = datetime(2026, 2, 1, tzinfo=UTC)


def evidence(stable: str, canary: str) -> Evidence:
    """Of two engines."""
    ours, theirs = (
        Answer(1.0, mesh3d_pb2.ReconstructResult(engine=engine_pb2.EngineInfo(fingerprint=one)))
        for one in (stable, canary)
    )
    return Evidence("mesh3d", [Pair(Case("", mesh3d_pb2.ReconstructRequest(), b""), ours, theirs, None)])


def job(fingerprint: str, verdict: Literal["slab", "volume"], *, seconds: float = 1, reused: bool = False) -> Job:
    """One whose mesh was begun so long after the step."""
    started = SINCE + timedelta(seconds=seconds)
    steps = tuple(
        replace(record, fingerprint=fingerprint, started_at=started, reused=reused)
        if record.step is Step.GENERATING_3D
        else record
        for record in JOB.steps
    )
    mesh = MeshReport(0.1, verdict, watertight=True, triangles=12, method="scripted", engine="scripted")
    return replace(JOB, steps=steps, mesh=mesh)


GOOD = [job("old", "volume") for _ in range(20)]


def test_a_canary_whose_jobs_become_slabs_is_worse() -> None:
    slabs = [job("new", "slab") for _ in range(3)] + [job("new", "volume") for _ in range(3)]
    (why,) = flatter(evidence("old", "new"), GOOD + slabs, SINCE)
    assert "3 of its 6 meshes are slabs, 0 of the stable track's 20" in why


def test_what_says_nothing_is_not_counted() -> None:
    both = evidence("old", "new")
    few = [job("new", "slab") for _ in range(4)]
    assert not flatter(both, GOOD + few, SINCE), "four are chance"
    assert not flatter(both, GOOD + few + [job("new", "slab", seconds=-1)], SINCE), "one before the step"
    assert not flatter(both, GOOD + few + [job("new", "slab", reused=True)], SINCE), "one made earlier"
    assert not flatter(both, GOOD + few + [job("other", "slab"), JOB], SINCE), "one of somebody else, one not begun"
    assert flatter(both, [*GOOD, *few, job("new", "slab")], SINCE)


def test_photos_that_make_slabs_of_themselves_are_no_fault() -> None:
    flat = [job("old", "slab") for _ in range(10)] + [job("new", "slab") for _ in range(3)]
    assert not flatter(evidence("old", "new"), GOOD[:10] + flat + [job("new", "volume") for _ in range(3)], SINCE)


def test_one_engine_under_two_settings_cannot_be_told_apart_by_its_jobs() -> None:
    assert not flatter(evidence("old", "old"), [job("old", "slab") for _ in range(20)], SINCE)
