"""Value types from protos: the rule that was broken, and the field that broke it."""

from __future__ import annotations

import math

import pytest

from lensora.core.errors import InvalidArgument
from lensora.core.geometry import Box
from lensora.runtime.convert import box_from_proto, box_to_proto, size_from_proto
from lensora.type.v1 import geometry_pb2


def test_a_box_comes_back_exactly() -> None:
    box = Box(0.1, 1 / 3, 0.7000000000000001, 1.0)
    wire = geometry_pb2.Box.FromString(box_to_proto(box).SerializeToString())
    assert box_from_proto(wire, "box") == box


@pytest.mark.parametrize("corners", [(0, 0, 0, 0), (0.5, 0, 0.4, 1), (0, 0, 1.1, 1), (math.nan, 0, 1, 1)])
def test_a_bad_box_names_its_field(corners: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = corners
    with pytest.raises(InvalidArgument, match="a box needs") as refused:
        box_from_proto(geometry_pb2.Box(x1=x1, y1=y1, x2=x2, y2=y2), "request.box")
    assert refused.value.violations[0].field == "request.box"


@pytest.mark.parametrize("size", [(256, 256), (1920, 1920), (1280, 720)])
def test_a_size_within_bounds_passes(size: tuple[int, int]) -> None:
    assert size_from_proto(geometry_pb2.Size(width=size[0], height=size[1]), "output") == size


@pytest.mark.parametrize(
    ("width", "height", "field"),
    [
        (1281, 720, "output.width"),
        (1280, 721, "output.height"),
        (254, 720, "output.width"),
        (1280, 1922, "output.height"),
        (0, 0, "output.width"),
        (-256, 256, "output.width"),
    ],
)
def test_a_size_out_of_bounds_names_its_side(width: int, height: int, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        size_from_proto(geometry_pb2.Size(width=width, height=height), "output")
    assert refused.value.violations[0].field == field
