"""Walks a canary's weight up, and takes it back to nothing at the first sign that it is worse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cli.canary.cases import Case
from cli.canary.judge import WORSE, Evidence, Verdict, pair, verdict
from cli.canary.live import flatter
from cli.canary.tracks import CANARY_TRACK, STABLE, Tracks
from cli.control import Control
from controlplane.wire import admin_pb2
from gateway.model import Job

_ERROR_POINTS = 0.02
"""Worse is a canary whose share of failed calls is so much above the stable track's."""

_MIN_CALLS = 20
"""Fewer are not judged by their share of errors."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go."""

    service: str
    steps: tuple[int, ...]
    """Percent, in order."""

    hold_seconds: float
    """How long a step is watched, at least; every case is replayed in each, too."""

    watch_seconds: float = 1.0
    """Between two looks at what clients report."""


@dataclass(slots=True)
class Rollout:
    """One walk."""

    plan: Plan
    control: Control
    tracks: Tracks
    cases: Sequence[Case]
    tell: Callable[[str], None]
    jobs: Callable[[], Awaitable[Sequence[Job]]] | None = None
    """The newest jobs of a gateway, to be watched for slabs."""

    evidence: Evidence = field(init=False)
    steps: list[str] = field(default_factory=list)
    """What happened, a line each."""

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.plan.service)

    async def run(self) -> Verdict:
        """Walk; whatever ends it before the last step's end, the canary is left with nothing.

        Before the first step the cases are replayed once, so that a canary that is plainly worse gets no call at all.
        """
        self._say(f"0 %: {len(self.cases)} recorded inputs, before it gets any call")
        try:
            found = await self._probe()
            for percent in self.plan.steps if found.name != WORSE else ():
                begun = await self.control.tracks(self.plan.service)
                await self.control.set_canary(self.plan.service, percent)
                self._say(f"{percent} %")
                found = await self._watch(begun)
                if found.name == WORSE:
                    break
        except BaseException:
            await self._go_back("it was not finished")
            raise
        if found.name == WORSE:
            await self._go_back("; ".join(found.reasons))
        return found

    async def _go_back(self, why: str) -> None:
        await asyncio.shield(self.control.set_canary(self.plan.service, 0))
        self._say(f"back to 0 %: {why}")

    async def _watch(self, begun: dict[str, admin_pb2.Track]) -> Verdict:
        """One step: replay while looking at live calls, until something is worse or the time is over."""
        until, since = time.monotonic() + self.plan.hold_seconds, datetime.now(UTC)
        probing = asyncio.create_task(self._probe())
        try:
            while True:
                await asyncio.wait([probing], timeout=self.plan.watch_seconds)
                live = self._live(begun, await self.control.tracks(self.plan.service))
                if self.jobs is not None and self.plan.service == "mesh3d":
                    live += flatter(self.evidence, await self.jobs(), since)
                if live:
                    return Verdict(WORSE, tuple(live))
                if probing.done() and (probing.result().name == WORSE or time.monotonic() >= until):
                    return probing.result()
                if probing.done():
                    probing = asyncio.create_task(self._probe())
        finally:
            probing.cancel()
            await asyncio.wait([probing])

    async def _probe(self) -> Verdict:
        """Every case once more; stops at the first that makes the canary worse."""
        latest = Evidence(self.plan.service)
        for number, case in enumerate(self.cases):
            one = await pair(self.tracks, self.plan.service, case, stable_first=number % 2 == 0)
            latest.pairs.append(one)
            found = verdict(latest)
            if found.name == WORSE and (number + 1 == len(self.cases) or self._grave(latest)):
                break
        self.evidence.pairs[:] = latest.pairs
        return found

    def _grave(self, latest: Evidence) -> bool:
        """What needs no second case: a failure, or a slab, that the stable track does not have."""
        failures = latest.errors(CANARY_TRACK) - latest.errors(STABLE)
        slabs = latest.slabs(CANARY_TRACK) - latest.slabs(STABLE) if self.plan.service == "mesh3d" else 0
        return failures > 0 or slabs > 0

    def _live(self, begun: dict[str, admin_pb2.Track], now: dict[str, admin_pb2.Track]) -> list[str]:
        """What clients reported of the calls since the step began."""
        shares, counts = {}, {}
        for track in (STABLE, CANARY_TRACK):
            failed = now[track].failed - begun[track].failed
            counts[track] = failed + now[track].succeeded - begun[track].succeeded
            shares[track] = failed / max(1, counts[track])
        found = []
        if counts[CANARY_TRACK] >= _MIN_CALLS and shares[CANARY_TRACK] > shares[STABLE] + _ERROR_POINTS:
            both = f"{shares[CANARY_TRACK]:.1%} of {counts[CANARY_TRACK]}, the stable track's {shares[STABLE]:.1%}"
            found.append(f"live calls fail: {both}")
        if now[CANARY_TRACK].avoided:
            found.append("clients avoid it: ejected, or not to be reached")
        return found

    def _say(self, text: str) -> None:
        self.steps.append(text)
        self.tell(text)
