"""One HTML file, pictures and all, that can be sent to whoever must decide."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from cli.canary.judge import WORSE, Evidence, Pair, Verdict
from cli.canary.measures import STAGES, Picture, decoded
from cli.canary.tracks import CANARY_TRACK, STABLE, Answer
from lensora.core.imaging import encode_png

_WIDTH = 360
_CONTRAST = 4
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e1e1e; background: #fff; }
body { margin: 2rem auto; max-width: 1280px; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h1 b { padding: .1em .5em; border-radius: .3em; color: #fff; background: #14804a; }
h1 b.differs { background: #9a6700; } h1 b.worse { background: #c02d2d; }
table { border-collapse: collapse; margin: 1.5rem 0; } table.pairs { width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th.number { text-align: right; }
img { max-width: 100%; height: auto; display: block; border: 1px solid #ddd; } .failed { color: #c02d2d; }
figcaption, .small { color: #555; font-size: .85rem; }
"""


def write(file: Path, evidence: Evidence, found: Verdict, steps: Sequence[str] = ()) -> None:
    """Write the report.

    Args:
        file: to write.
        evidence: what was seen.
        found: the verdict on it.
        steps: of a rollout, a line each.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(_page(evidence, found, steps)), "utf-8")


def _page(evidence: Evidence, found: Verdict, steps: Sequence[str]) -> Iterator[str]:
    title = f"Canary of {evidence.service}: {found.name}"
    yield "<!doctype html><html lang=en><head><meta charset=utf-8>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
    kind = {"no worse": ""}.get(found.name, found.name)
    yield f"<h1>Canary of {html.escape(evidence.service)}: <b class='{kind}'>{html.escape(found.name)}</b></h1><ul>"
    yield from (f"<li>{html.escape(reason)}</li>" for reason in found.reasons)
    yield "</ul>"
    if steps:
        yield "<h2>Steps</h2><ol>" + "".join(f"<li>{html.escape(step)}</li>" for step in steps) + "</ol>"
    yield from _summary(evidence)
    yield "<table class=pairs><tr><th>input</th><th>stable</th><th>canary</th><th>difference</th></tr>"
    for pair in evidence.pairs:
        yield from _row(evidence.service, pair)
    yield "</table></body></html>"


def _summary(evidence: Evidence) -> Iterator[str]:
    yield "<table><tr><th></th><th class=number>stable</th><th class=number>canary</th></tr>"
    count = len(evidence.pairs)
    rows = [("calls that failed", [f"{evidence.errors(track)} of {count}" for track in (STABLE, CANARY_TRACK)])]
    times = [evidence.median(track, lambda answer: 1000 * answer.seconds) for track in (STABLE, CANARY_TRACK)]
    rows.append(("median time", ["-" if one is None else f"{one:.0f} ms" for one in times]))
    if evidence.service == "mesh3d":
        rows.append(("slabs", [f"{evidence.slabs(track)} of {count}" for track in (STABLE, CANARY_TRACK)]))
    rows.append(("made by", [_made_by(evidence.answers(track)) for track in (STABLE, CANARY_TRACK)]))
    for name, values in rows:
        cells = "".join(f"<td class=number>{html.escape(value)}</td>" for value in values)
        yield f"<tr><td>{name}</td>{cells}</tr>"
    yield "</table>"
    stage, likeness = STAGES[evidence.service], evidence.likeness
    if likeness is not None:
        said = f"{stage.likeness}, {likeness:.3f} in the mean (alike from {stage.alike:g})"
        yield f"<p>Likeness: {html.escape(said)}.</p>"


def _made_by(answers: Sequence[Answer]) -> str:
    prints = {answer.result.engine.fingerprint for answer in answers if answer.result is not None}
    return ", ".join(sorted(prints)) or "-"


def _row(service: str, pair: Pair) -> Iterator[str]:
    compared, said = pair.compared, ""
    if compared is not None:
        said = ", ".join(filter(None, (f"likeness {compared.likeness:.3f}", compared.notes)))
    photo = _figure(decoded(pair.case.photo), pair.case.name)
    yield f"<tr><td>{photo}<span class=small>{html.escape(said)}</span></td>"
    pictures = []
    for track in (STABLE, CANARY_TRACK):
        answer: Answer = getattr(pair, track)
        if answer.error is not None:
            yield f"<td class=failed>{html.escape(answer.error.reason)}: {html.escape(answer.error.message)}</td>"
            continue
        picture = getattr(compared, track) if compared else STAGES[service].picture(pair.case.photo, answer)
        pictures.append(picture)
        yield f"<td>{_figure(picture, f'{1000 * answer.seconds:.0f} ms')}</td>"
    yield f"<td>{_apart(*pictures) if len(pictures) == 2 else ''}</td></tr>"


def _apart(one: Picture, other: Picture) -> str:
    picture = _difference(one, other)
    return _figure(picture, "the same" if picture.min() == 255 else f"darker where they differ, {_CONTRAST}-fold")


def _difference(one: Picture, other: Picture) -> Picture:
    """White where they are the same, darker the more they differ; the second is brought to the size of the first."""
    if one.shape != other.shape:
        other = cv2.resize(other, one.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    apart = np.abs(one.astype(np.int16) - other).max(axis=2, keepdims=True)
    return np.repeat(255 - np.minimum(255, _CONTRAST * apart), 3, axis=2).astype(np.uint8)


def _figure(picture: Picture, caption: str) -> str:
    height, width = picture.shape[:2]
    scale = min(1.0, 2 * _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8) if scale < 1 else picture
    data = base64.b64encode(encode_png(small)).decode()
    source = f"data:image/png;base64,{data}"
    return (
        f"<figure style='margin:0'><img src='{source}' alt=''><figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def line(found: Verdict) -> str:
    """The verdict in one line, for a terminal."""
    colour = "red" if found.name == WORSE else "green" if found.name == "no worse" else "yellow"
    return f"[bold {colour}]{found.name}[/]  {'; '.join(found.reasons)}"
