"""Memory and CPU of a family of processes, watched from outside."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType

import psutil

_SECONDS = 0.2


def pss_mb(pid: int) -> float:
    """Proportional set size: shared pages are split among who shares them (proc(5), smaps_rollup)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


class Watch:
    """Samples named processes and their children while it is entered.

    Attributes:
        peak_mb: the most that all together held at one moment.
        peaks_mb: the most that each held, children included.
        cpu_seconds: what each used between enter and exit, children included.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._before = self._cpu()
        self.peak_mb = 0.0
        self.peaks_mb: defaultdict[str, float] = defaultdict(float)
        self.cpu_seconds: dict[str, float] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        after = self._cpu()
        self.cpu_seconds = {name: after[name] - self._before[name] for name in after}

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            now = {name: sum(pss_mb(process.pid) for process in _family(pid)) for name, pid in self._pids.items()}
            self.peak_mb = max(self.peak_mb, sum(now.values()))
            for name, value in now.items():
                self.peaks_mb[name] = max(self.peaks_mb[name], value)

    def _cpu(self) -> dict[str, float]:
        return {name: sum(map(_cpu_seconds, _family(pid))) for name, pid in self._pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _cpu_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
