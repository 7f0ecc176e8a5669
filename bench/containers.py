"""The images: how large they are, and how soon all seven serve: ``python -m bench.containers``, after ``make images``.

Needs root and podman, as ``make test-containers`` does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from bench.machine import machine
from tests.containers.system import MEMBERS, System, image, podman

RUNS = 3


def megabytes() -> dict[str, float]:
    """Of each image, unpacked, with its base, in millions of bytes."""
    return {name: int(podman("image", "inspect", "--format", "{{.Size}}", image(name))) / 1e6 for name in MEMBERS}


def seconds_to_serve() -> float:
    """From the first ``podman run`` until each container's own health check says that it serves."""
    with tempfile.TemporaryDirectory() as folder, System(Path(folder)).running() as system:
        return system.seconds_to_serve


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    print(f"machine: {machine()}")
    sizes = megabytes()
    for name, size in sizes.items():
        print(f"lensora-{name:<16}{size:>6.0f} MB")
    seconds = [seconds_to_serve() for _ in range(RUNS)]
    print(f"all {len(MEMBERS)} serve after {', '.join(f'{one:.1f}' for one in seconds)} s")
    figures = {"six_up_seconds": round(statistics.median(seconds), 2), "image_mb_max": round(max(sizes.values()))}
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
