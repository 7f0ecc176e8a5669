"""Runs what the request says: ``(action, *arguments)``."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NoReturn

from lensora.core.engines import Context, Made
from lensora.core.errors import FieldViolation, InvalidArgument, LensoraError

events: defaultdict[str, threading.Event] = defaultdict(threading.Event)
"""Shared with a test in the same process."""


class Stubborn(LensoraError):
    """An error that pickles in the worker and cannot be made again by its reader."""

    def __reduce__(self) -> tuple[object, ...]:
        return Stubborn, ()


class Scripted:
    """See the module."""

    name = "scripted"
    version = "3"

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def run(self, request: Any, context: Context) -> Any:
        """Do it."""
        action, *arguments = request
        return getattr(self, action)(context, *arguments)

    def echo(self, _: Context, value: Any) -> Any:
        return value

    def engine_name(self, _: Context) -> str:
        return str(self.settings.engine)

    def stand_in(self, _: Context, instead_of: str, reason: str) -> Made[str]:
        return Made("done", "other", "9", instead_of, reason)

    def pid(self, _: Context) -> int:
        return os.getpid()

    def steps(self, context: Context, *steps: Any) -> str:
        for fraction, phase in steps:
            context.progress(fraction, phase)
        return "stepped"

    def refuse(self, _: Context) -> NoReturn:
        raise InvalidArgument(
            "no such thing",
            reason="NO_SUCH_THING",
            violations=(FieldViolation("thing", "must exist"),),
            retry_after_s=2.0,
            metadata={"step": "toy"},
        )

    def break_down(self, _: Context) -> NoReturn:
        raise ZeroDivisionError("the secret is 4711")

    def refuse_oddly(self, _: Context) -> NoReturn:
        raise Stubborn("x")

    def unpicklable(self, _: Context) -> Any:
        return lambda: None

    def exit(self, context: Context) -> NoReturn:
        context.progress(0.5, "working")
        os._exit(3)

    def exit_once(self, context: Context, marker: str, steps: int) -> int:
        """Ends the process the first time, after some progress."""
        for step in range(steps):
            context.progress((step + 1) / (steps + 1), "working")
        if not Path(marker).exists():
            Path(marker).touch()
            os._exit(3)
        return os.getpid()

    def stuck(self, context: Context) -> NoReturn:
        """Native code that holds the interpreter for ever: a regular expression that backtracks."""
        context.progress(0.25, "stuck")
        re.match(r"(a+)+$", "a" * 200 + "b")
        raise AssertionError("the sun has burnt out")

    def grow(self, context: Context, megabytes: int) -> NoReturn:
        ballast = bytearray(megabytes * 1_000_000)
        ballast[::4096] = bytes([1]) * len(ballast[::4096])
        while True:
            context.progress(0.5, "growing")
            time.sleep(0.02)

    def loop(self, context: Context, name: str) -> NoReturn:
        """Works until it is stopped, and says so in the event ``<name> ended``."""
        try:
            while True:
                context.progress(0.5, "looping")
                events[name].set()
                time.sleep(0.005)
        finally:
            events[f"{name} ended"].set()

    def wait(self, context: Context, name: str) -> str:
        """Works until the test sets the event."""
        context.progress(0.5, "waiting")
        while not events[name].wait(0.01):
            context.check()
        return name

    def wait_then_bulk(self, context: Context, name: str, size: int) -> str:
        return self.wait(context, name)[:0] + "x" * size

    def interrupt(self, _: Context) -> str:
        """What Ctrl-C at a terminal does to every process of the group."""
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"

    def bulk(self, _: Context, size: int) -> str:
        return "x" * size

    def babble(self, context: Context, rounds: int) -> str:
        """Reports much more than a reader who does not read can take."""
        events["babbling"].set()
        for number in range(rounds):
            context.progress(0.5, f"{number} " + "x" * 4000)
        while True:
            context.check()
            time.sleep(0.005)


create = Scripted
