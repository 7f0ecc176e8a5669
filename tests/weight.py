"""How much memory a process takes, and took at most."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Weight:
    """Resident megabytes."""

    before: float
    peak: float = 0.0

    @property
    def grown(self) -> float:
        """The most that was taken on top of what was held before."""
        return self.peak - self.before


@contextlib.contextmanager
def weighing(pid: int | str = "self") -> Iterator[Weight]:
    """Measure the peak of the block, libraries' own memory with it; what the process took earlier does not count."""
    process = Path(f"/proc/{pid}")
    (process / "clear_refs").write_text("5")  # sets the high-water mark back to what is resident now, see proc(5)
    weight = Weight(_high_water(process))
    yield weight
    weight.peak = _high_water(process)


def _high_water(process: Path) -> float:
    status = (process / "status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1.024e-3
