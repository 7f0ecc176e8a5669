"""What two results of one stage have in common, in numbers and to be looked at.

Pictures are (h, w, 3) 8-bit sRGB throughout.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from cli.canary.tracks import Answer
from cli.drawing import Mark, marked
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import Box
from lensora.runtime.convert import box_from_proto
from lensora.type.v1 import mesh_pb2

Picture = NDArray[np.uint8]

_SIDE = 360
_BACKGROUND = 246
_MATCH_IOU = 0.5
_VIEWS = (35.0, 90.0)
"""Degrees about +Y: three quarters, and from the side, where a slab shows."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two results beside each other."""

    likeness: float
    """1 where they are the same; its meaning is the stage's, see ``STAGES``."""

    stable: Picture
    canary: Picture
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """How the results of one stage are compared."""

    likeness: str
    """What ``Compared.likeness`` is, for people."""

    alike: float
    """From here on two results count as alike."""

    compare: Callable[[bytes, Answer, Answer], Compared]
    picture: Callable[[bytes, Answer], Picture]
    """One result alone, for a pair of which the other failed; the first argument is the input."""


def is_slab(answer: Answer) -> bool:
    """Whether a mesh is an extruded picture."""
    return bool(answer.result.report.verdict == mesh_pb2.VERDICT_SLAB)


def thin_axis_ratio(answer: Answer) -> float:
    """Shortest over longest side of the mesh's oriented box."""
    return float(answer.result.report.thin_axis_ratio)


def milliseconds_per_frame(answer: Answer) -> float:
    """Of a film, the call's time with everything in it."""
    return float(1000 * answer.seconds / max(1, answer.result.frames))


def decoded(data: bytes) -> Picture:
    """A PNG or JPEG; what is transparent in it on a light ground.

    Raises:
        FailedPrecondition: it is neither.
    """
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint8:
        raise FailedPrecondition("a result is no 8-bit picture", reason="CANARY_RESULT")
    if read.ndim == 2:
        read = cv2.cvtColor(read, cv2.COLOR_GRAY2BGRA)
    if read.shape[2] == 3:
        read = cv2.cvtColor(read, cv2.COLOR_BGR2BGRA)
    alpha = read[..., 3:].astype(np.float32) / 255
    flat = read[..., 2::-1] * alpha + _BACKGROUND * (1 - alpha)
    return flat.round().astype(np.uint8)


def _boxes(photo: bytes, answer: Answer) -> Picture:
    marks = [Mark(box_from_proto(one.bbox, "bbox"), one.label) for one in answer.result.proposals[:-1]]
    return marked(decoded(photo), marks)


def _detect(photo: bytes, stable: Answer, canary: Answer) -> Compared:
    ours, theirs = ([box_from_proto(one.bbox, "bbox") for one in each.result.proposals] for each in (stable, canary))
    matched = sum(any(_iou(one, other) >= _MATCH_IOU for other in theirs) for one in ours)
    matched += sum(any(_iou(one, other) >= _MATCH_IOU for other in ours) for one in theirs)
    first = [each.result.proposals[0].label for each in (stable, canary)]
    note = f"first: {first[0]}" if first[0] == first[1] else f"first: {first[0]} → {first[1]}"
    likeness = matched / (len(ours) + len(theirs))
    return Compared(likeness, _boxes(photo, stable), _boxes(photo, canary), note)


def _iou(one: Box, other: Box) -> float:
    wide = min(one.x2, other.x2) - max(one.x1, other.x1)
    tall = min(one.y2, other.y2) - max(one.y1, other.y1)
    both = max(0.0, wide) * max(0.0, tall)
    areas = sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in (one, other))
    return both / (areas - both)


def _cutout(_: bytes, answer: Answer) -> Picture:
    return decoded(answer.blobs[answer.result.cutout.sha256])


def _segment(photo: bytes, stable: Answer, canary: Answer) -> Compared:
    height, width = decoded(photo).shape[:2]
    ours, theirs = (_matte(one, width, height) for one in (stable, canary))
    either = np.maximum(ours, theirs).sum()
    likeness = float(np.minimum(ours, theirs).sum() / either) if either else 1.0
    return Compared(likeness, _cutout(photo, stable), _cutout(photo, canary))


def _matte(answer: Answer, width: int, height: int) -> NDArray[np.float32]:
    """Alpha of the cut-out in the whole photo, (h, w), 0 to 1."""
    read = cv2.imdecode(np.frombuffer(answer.blobs[answer.result.cutout.sha256], np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.ndim != 3 or read.shape[2] != 4:
        raise FailedPrecondition("a cut-out has no alpha", reason="CANARY_RESULT")
    left, top, right, bottom = box_from_proto(answer.result.crop_bbox, "crop_bbox").pixels(width, height)
    whole = np.zeros((height, width), np.float32)
    alpha = read[..., 3].astype(np.float32) / 255
    whole[top:bottom, left:right] = cv2.resize(alpha, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return whole


def _views(_: bytes, answer: Answer) -> Picture:
    """The mesh from two sides, shaded by its faces' directions, orthographic; the farthest triangles first."""
    loaded = trimesh.load(io.BytesIO(answer.blobs[answer.result.mesh.sha256]), file_type="glb", force="mesh")
    centred = loaded.vertices - loaded.bounds.mean(axis=0)
    reach = np.linalg.norm(centred, axis=1).max()
    pictures = []
    for degrees in _VIEWS:
        turn = np.deg2rad(degrees)
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        triangles = (centred @ rotation.T)[loaded.faces]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        light = np.clip(normals @ np.array([0.3, 0.5, 0.81]), 0, 1) * 170 + 60
        corners = np.round((triangles[..., :2] * [1, -1] / reach * 0.48 + 0.5) * _SIDE).astype(np.int32)
        canvas = np.full((_SIDE, _SIDE, 3), _BACKGROUND, np.uint8)
        facing = normals[:, 2] > 0
        for index in np.argsort(triangles[..., 2].mean(axis=1)):
            if facing[index]:
                cv2.fillConvexPoly(canvas, corners[index], [float(light[index])] * 3)
        pictures.append(canvas)
    return np.hstack(pictures)


def _verdict(answer: Answer) -> str:
    return mesh_pb2.Verdict.Name(answer.result.report.verdict).removeprefix("VERDICT_").lower()


def _mesh3d(cutout: bytes, stable: Answer, canary: Answer) -> Compared:
    ours, theirs = thin_axis_ratio(stable), thin_axis_ratio(canary)
    said = " → ".join(f"{_verdict(one)} {thin_axis_ratio(one):.2f}" for one in (stable, canary))
    return Compared(min(ours, theirs) / max(ours, theirs), _views(cutout, stable), _views(cutout, canary), said)


def _frames(answer: Answer) -> list[Picture]:
    with av.open(io.BytesIO(answer.blobs[answer.result.video.sha256]), "r") as film:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in film.decode(video=0)]


def _middle(_: bytes, answer: Answer) -> Picture:
    frames = _frames(answer)
    return frames[len(frames) // 2]


def _render(_: bytes, stable: Answer, canary: Answer) -> Compared:
    ours, theirs = _frames(stable), _frames(canary)
    if len(ours) != len(theirs):
        note = f"{len(ours)} → {len(theirs)} frames"
        return Compared(0.0, ours[len(ours) // 2], theirs[len(theirs) // 2], note)
    alike = float(np.mean([_alike(one, other) for one, other in zip(ours, theirs, strict=True)]))
    times = " → ".join(f"{milliseconds_per_frame(one):.0f}" for one in (stable, canary))
    return Compared(alike, ours[len(ours) // 2], theirs[len(theirs) // 2], f"{times} ms a frame")


def _plate(_: bytes, answer: Answer) -> Picture:
    scene = answer.result.scene
    if scene.WhichOneof("backdrop") != "plate":
        raise FailedPrecondition("the scene has no plate to compare", reason="CANARY_RESULT")
    return decoded(answer.blobs[scene.plate.sha256])


def _background(photo: bytes, stable: Answer, canary: Answer) -> Compared:
    ours, theirs = _plate(photo, stable), _plate(photo, canary)
    names = [one.result.scene.name for one in (stable, canary)]
    return Compared(_alike(ours, theirs), ours, theirs, names[0] if names[0] == names[1] else " → ".join(names))


def _alike(one: Picture, other: Picture) -> float:
    """1 less the mean difference of two pictures, as a share of white."""
    if one.shape != other.shape:
        return 0.0
    return 1.0 - float(np.abs(one.astype(np.float32) - other).mean()) / 255


STAGES = {
    "detect": Stage("share of proposals that the other has, too", 0.8, _detect, _boxes),
    "segment": Stage("IoU of the mattes", 0.9, _segment, _cutout),
    "background": Stage("1 − mean difference of the plates", 0.95, _background, _plate),
    "mesh3d": Stage("ratio of the thin-axis ratios", 0.8, _mesh3d, _views),
    "render": Stage("1 − mean difference of the frames", 0.97, _render, _middle),
}
"""By service; a photo's own input is the first argument of the functions."""
