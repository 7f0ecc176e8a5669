"""``python -m bench.gateway --json [NAME ...]``; the last line is one JSON object ``{"figures": {...}}``.

Names choose what to measure (default: all): ``overhead``, ``watchers``, ``accept``, ``recovery``, ``takeover``,
``uploads``, ``chaos``. Needs Debian's Postgres, which `make setup-dev` installs. The services are scripted, the rest is
real.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.gateway import load
from bench.gateway.chaos import Chaos, Findings
from bench.gateway.world import running
from bench.machine import machine
from tests.postgres import Postgres, running_postgres

CHAOS_SECONDS = 0.15
"""Mean of a scripted stage."""


async def chaos(postgres: Postgres, count: int, seed: int, console: Console) -> load.Figures:
    """``count`` jobs on SQLite, and ``count`` on Postgres with three replicas."""
    found = [await _chaos("", 1, count, seed), await _chaos(postgres.new_database(), 3, count, seed)]
    for name, one in zip(("SQLite, 1 gateway", "Postgres, 3 gateways"), found, strict=True):
        console.print(name, one)
    return {
        "chaos_jobs": sum(one.jobs for one in found),
        "jobs_lost": sum(one.lost for one in found),
        "ledger_errors": sum(one.ledger_errors for one in found),
        "double_charges": sum(one.double_charges for one in found),
        "stages_rerun_after_recorded": sum(one.reruns for one in found),
        "broken_stories": sum(one.broken_stories for one in found),
    }


async def _chaos(url: str, gateways: int, count: int, seed: int) -> Findings:
    with tempfile.TemporaryDirectory() as home:
        settings = {"running_jobs": 6, "running_jobs_per_account": 18, "connect_seconds": 20.0, "max_runs": 100}
        async with running(
            Path(home), database_url=url, gateways=gateways, seconds=CHAOS_SECONDS, **settings
        ) as system:
            return await Chaos(system, url or f"sqlite:///{home}/studio.db", count, seed).run()


def main() -> int:
    """Measure, print a table, and the figures last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=500, help="jobs of each of the two chaos runs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    console = Console(stderr=True)
    figures: load.Figures = {}
    with running_postgres() as postgres:
        measures: dict[str, load.Measure] = {
            "overhead": load.overhead,
            "watchers": load.watchers,
            "accept": lambda: load.accept(postgres.new_database()),
            "recovery": load.recovery,
            "takeover": lambda: load.takeover(postgres.new_database),
            "uploads": load.uploads,
            "chaos": lambda: chaos(postgres, given.jobs, given.seed, console),
        }
        for name in given.names or measures:
            console.print(f"[bold]{name}[/bold]")
            figures |= asyncio.run(measures[name]())
    table = Table("figure", "value", title=machine())
    for name, value in figures.items():
        table.add_row(name, f"{value:,.1f}")
    console.print(table)
    if given.json:
        sys.stdout.write(json.dumps({"figures": figures, "machine": machine()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
