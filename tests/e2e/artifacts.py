"""What `lensora make` wrote, and what other people's tools say of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from tests.e2e.conftest import LENSORA

VALIDATOR = Path(__file__).parents[1] / "tools/validate.js"
PROMPT = "on a marble countertop with soft natural light"


@dataclass(frozen=True)
class Made:
    """What `lensora make --json` said and wrote."""

    photo: Path
    said: dict[str, Any]
    folder: Path

    def frames(self) -> NDArray[np.int16]:
        with av.open(str(self.folder / "film.mp4")) as film:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]).astype(np.int16)


def run_make(photo: Path, folder: Path, size: str, seconds: int, *more: str) -> subprocess.CompletedProcess[str]:
    """`lensora make --json`, to whatever end."""
    command = [
        str(LENSORA), "make", str(photo), "--background", PROMPT,
        "--size", size, "--duration", str(seconds), "--out", str(folder), "--json", *more,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def check_film(path: Path, width: int, height: int, seconds: int) -> None:
    """The contract's film, as FFmpeg's libraries read it."""
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        context = stream.codec_context
        assert (context.name, stream.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.width, context.height) == (width, height)
        assert stream.average_rate == 24
        # 1: bt709 in all three tables of ITU-T H.273; range 1 is limited
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
        assert sum(1 for _ in film.decode(video=0)) == 24 * seconds


def check_gltf(path: Path) -> None:
    """Nothing to say for the Khronos validator."""
    done = subprocess.run(["node", str(VALIDATOR), str(path)], capture_output=True, text=True, check=True, timeout=60)
    issues = json.loads(done.stdout)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def check_solid(path: Path, said: dict[str, Any]) -> None:
    """A solid that stands on the ground and measures what was said of it, by trimesh."""
    mesh = trimesh.load(path, force="mesh")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume > 0, "faces look outwards"
    assert len(mesh.faces) == said["triangles"]
    sides = np.sort(trimesh.bounds.oriented_bounds(mesh)[1])
    assert said["thin_axis_ratio"] == pytest.approx(sides[0] / sides[2], abs=0.02)
    assert mesh.bounds[0][1] == pytest.approx(0, abs=1e-4), "the foot stands on y = 0"
