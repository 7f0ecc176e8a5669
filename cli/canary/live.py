"""Slabs among the jobs that customers themselves had made in the meantime; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cli.canary.judge import Evidence
from cli.canary.tracks import CANARY_TRACK, STABLE
from gateway.model import Job, Step

_MIN_MESHES = 5
_SLAB_POINTS = 0.1
"""Worse is who made so many meshes, and of them such a larger share of slabs than the stable track: photos differ."""


@dataclass(slots=True)
class Made:
    """What one track made."""

    meshes: int = 0
    slabs: int = 0

    @property
    def share(self) -> float:
        """Of slabs."""
        return self.slabs / max(1, self.meshes)


def flatter(evidence: Evidence, jobs: Iterable[Job], since: datetime) -> list[str]:
    """Why the canary is worse by what it made of jobs since then; empty if it is not, or cannot be told apart.

    Args:
        evidence: tells by its answers which fingerprints are whose.
        jobs: any.
        since: when the step began; results that were kept from before say nothing.
    """
    prints = {track: _fingerprints(evidence, track) for track in (STABLE, CANARY_TRACK)}
    if prints[STABLE] & prints[CANARY_TRACK]:
        return []  # the same engine under another configuration
    made = {track: Made() for track in prints}
    for job in jobs:
        record = job.record(Step.GENERATING_3D)
        if job.mesh is None or record.reused or record.started_at is None or record.started_at < since:
            continue
        for track in prints:
            if record.fingerprint in prints[track]:
                made[track].meshes += 1
                made[track].slabs += job.mesh.verdict == "slab"
    stable, canary = made[STABLE], made[CANARY_TRACK]
    if canary.meshes < _MIN_MESHES or canary.share <= stable.share + _SLAB_POINTS:
        return []
    return [
        f"live jobs: {canary.slabs} of its {canary.meshes} meshes are slabs, "
        f"{stable.slabs} of the stable track's {stable.meshes}"
    ]


def _fingerprints(evidence: Evidence, track: str) -> set[str]:
    return {answer.result.engine.fingerprint for answer in evidence.answers(track) if answer.result is not None}
