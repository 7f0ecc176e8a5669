"""``python -m bench.canary --json [NAME ...]``; the last line is one JSON object ``{"figures": {...}}``.

Names choose what to measure (default: all): ``split``, ``rollout``, ``ejection``, ``control_plane_down``,
``cert_rotation``, ``rollback``, ``overhead``. ``--also FILE`` adds the figures in a JSON object that something else
measured, such as the containers' ``six_up_seconds`` and ``image_mb_max``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from bench.canary.measures import MEASURES, Figures
from bench.machine import machine


def main() -> int:
    """Measure, print a table, and the figures last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--also", type=Path, help="a JSON object of figures to print with these")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # instances would log every call
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    console = Console(stderr=True)
    figures: Figures = {}
    for name in given.names or MEASURES:
        console.print(f"[bold]{name}[/bold]")
        figures |= asyncio.run(MEASURES[name]())
    if given.also is not None:
        figures |= json.loads(given.also.read_text())
    table = Table("figure", "value", title=machine())
    for name, value in figures.items():
        table.add_row(name, f"{value:,.3f}")
    console.print(table)
    if given.json:
        sys.stdout.write(json.dumps({"figures": figures, "machine": machine()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
