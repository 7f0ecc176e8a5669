"""Replays inputs through both tracks, and says whether the canary is worse; the rules are here, and nowhere else."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from cli.canary.cases import Case
from cli.canary.measures import STAGES, Compared, is_slab, milliseconds_per_frame, thin_axis_ratio
from cli.canary.tracks import CANARY_TRACK, STABLE, Answer, Tracks
from lensora.core.errors import FailedPrecondition

NO_WORSE, DIFFERS, WORSE = "no worse", "differs", "worse"

_SLOWER, _SLOWER_SECONDS, _MIN_TIMED = 1.5, 0.05, 3
"""Worse is who takes so many times as long, and so much longer, at the median of so many pairs at least."""

_THINNER = 0.9
"""Worse are meshes whose median thin-axis ratio is below this share of the stable track's."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One input, both answers."""

    case: Case
    stable: Answer
    canary: Answer
    compared: Compared | None
    """None where one of them failed."""


@dataclass(slots=True)
class Evidence:
    """All pairs so far."""

    service: str
    pairs: list[Pair] = field(default_factory=list)

    def answers(self, track: str) -> list[Answer]:
        """Of one track."""
        return [getattr(pair, track) for pair in self.pairs]

    def errors(self, track: str) -> int:
        """How many failed; what both tracks refuse for the same reason is the input's fault."""
        return sum(_failed(getattr(pair, track), pair) for pair in self.pairs)

    def median(self, track: str, value: Callable[[Answer], float]) -> float | None:
        """Of those pairs that both answered, which alone compare fairly; None without any."""
        values = [value(getattr(pair, track)) for pair in self.pairs if pair.compared is not None]
        return statistics.median(values) if values else None

    def slabs(self, track: str) -> int:
        """Meshes that are extruded pictures."""
        return sum(answer.result is not None and is_slab(answer) for answer in self.answers(track))

    @property
    def likeness(self) -> float | None:
        """The mean; None where no pair could be compared."""
        values = [pair.compared.likeness for pair in self.pairs if pair.compared is not None]
        return statistics.fmean(values) if values else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and why."""

    name: str
    """One of ``NO_WORSE``, ``DIFFERS``, ``WORSE``."""

    reasons: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """What the pairs say.

    Raises:
        FailedPrecondition: there are none.
    """
    if not evidence.pairs:
        raise FailedPrecondition("there is nothing to judge by", reason="NO_CASES")
    worse = [*_errors(evidence), *_slower(evidence), *(_flatter(evidence) if evidence.service == "mesh3d" else ())]
    if worse:
        return Verdict(WORSE, tuple(worse))
    stage, likeness = STAGES[evidence.service], evidence.likeness
    if likeness is not None and likeness < stage.alike:
        why = f"the results differ: {stage.likeness} is {likeness:.3f}, alike is {stage.alike:g}; look at the pictures"
        return Verdict(DIFFERS, (why,))
    told = "no pair could be compared, but errors are the same" if likeness is None else f"{likeness:.3f}"
    return Verdict(NO_WORSE, (f"{stage.likeness}: {told}",))


def _errors(evidence: Evidence) -> list[str]:
    ours, theirs = evidence.errors(STABLE), evidence.errors(CANARY_TRACK)
    if theirs <= ours:
        return []
    reasons = {answer.error.reason for answer in evidence.answers(CANARY_TRACK) if answer.error is not None}
    return [
        f"{theirs} of {len(evidence.pairs)} calls failed, {ours} of the stable track's: {', '.join(sorted(reasons))}"
    ]


def _slower(evidence: Evidence) -> list[str]:
    if evidence.service == "render":
        value, unit, least = milliseconds_per_frame, "ms a frame", 1.0
    else:
        value, unit, least = (lambda answer: 1000 * answer.seconds), "ms", 1000 * _SLOWER_SECONDS
    ours, theirs = evidence.median(STABLE, value), evidence.median(CANARY_TRACK, value)
    if ours is None or theirs is None or theirs < _SLOWER * ours or theirs - ours < least:
        return []
    if sum(pair.compared is not None for pair in evidence.pairs) < _MIN_TIMED:
        return []
    return [f"slower: {theirs:.0f} {unit} at the median, the stable track {ours:.0f}"]


def _flatter(evidence: Evidence) -> list[str]:
    found = []
    ours, theirs = evidence.slabs(STABLE), evidence.slabs(CANARY_TRACK)
    if theirs > ours:
        found.append(f"{theirs} of {len(evidence.pairs)} meshes are slabs, {ours} of the stable track's")
    thin = [evidence.median(track, thin_axis_ratio) for track in (STABLE, CANARY_TRACK)]
    if thin[0] is not None and thin[1] is not None and thin[1] < _THINNER * thin[0]:
        found.append(f"flatter: thin_axis_ratio {thin[1]:.2f} at the median, the stable track's {thin[0]:.2f}")
    return found


def _failed(answer: Answer, pair: Pair) -> bool:
    both = pair.stable.error, pair.canary.error
    same = both[0] is not None and both[1] is not None and both[0].reason == both[1].reason
    return answer.error is not None and not same


async def replay(tracks: Tracks, evidence: Evidence, cases: AsyncIterator[Case] | Sequence[Case]) -> None:
    """Add a pair of each case; which track goes first alternates, as the second finds caches warm."""
    async for case in _each(cases):
        evidence.pairs.append(await pair(tracks, evidence.service, case, stable_first=len(evidence.pairs) % 2 == 0))


async def pair(tracks: Tracks, service: str, case: Case, *, stable_first: bool) -> Pair:
    """Both answers to one case."""
    order = (STABLE, CANARY_TRACK) if stable_first else (CANARY_TRACK, STABLE)
    answers = {track: await tracks.ask(case.request, track) for track in order}
    stable, canary = answers[STABLE], answers[CANARY_TRACK]
    compared = None
    if stable.error is None and canary.error is None:
        compared = await asyncio.to_thread(STAGES[service].compare, case.photo, stable, canary)
    return Pair(case, stable, canary, compared)


async def _each(cases: AsyncIterator[Case] | Sequence[Case]) -> AsyncIterator[Case]:
    if isinstance(cases, Sequence):
        for case in cases:
            yield case
    else:
        async for case in cases:
            yield case
