"""What is in force: the last good mesh, where its instances are, and who wants to hear of changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from controlplane import metrics
from controlplane.loads import Loads
from controlplane.model import Mesh, parse
from controlplane.resources import Places, Snapshot, snapshot
from controlplane.session import Session
from lensora.core.errors import LensoraError

_log = structlog.get_logger()


class State:
    """One replica's; a source writes it, streams read it."""

    def __init__(self) -> None:
        self.mesh: Mesh | None = None
        self.places: Places = {}
        self.snapshot: Snapshot | None = None
        """None until the first good mesh."""

        self.ready = asyncio.Event()
        """Set once there is a snapshot."""

        self.refused = "no configuration was read yet"
        """Why the newest configuration is not in force; empty when it is."""

        self.sessions: dict[Session, str] = {}
        """Of the clients that are connected, with their addresses."""

        self.loads = Loads()
        self._text: str | None = None
        self._listeners: set[asyncio.Queue[Snapshot]] = set()

    def configure(self, text: str) -> bool:
        """Take a new configuration, which comes into force with the next ``place``.

        One that breaks a rule changes nothing, and is told in log, metric and status.

        Returns:
            Whether it is new, and good.
        """
        if text == self._text:
            return False
        self._text = text
        try:
            self.mesh = parse(text)
        except LensoraError as error:
            self._refuse(error.message)
            return False
        self.refused = ""
        metrics.refused.set(0)
        _log.info("mesh configured", canary={name: one.canary.weight for name, one in self.mesh.services.items()})
        return True

    def unreadable(self, why: str) -> None:
        """The configuration cannot be read; the last good one stays."""
        self._text = None
        self._refuse(why)

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            _log.error("mesh refused", message=why, last_good_stays=self.mesh is not None)
        self.refused = why
        metrics.refused.set(1)

    def place(self, places: Places) -> None:
        """Take the instances that there are now, and tell all streams what has changed."""
        if self.mesh is None:
            return
        if places != self.places:
            self.places = dict(places)
            _log.info("instances", found={"/".join(key): len(found) for key, found in self.places.items()})
        made = snapshot(self.mesh, self.places)
        if made != self.snapshot:
            self.snapshot = made
            self.ready.set()
            for queue in self._listeners:
                queue.put_nowait(made)

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Snapshot]]:
        """A queue that gets every new snapshot."""
        queue: asyncio.Queue[Snapshot] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
