"""What an operator may write, and what is refused with a sentence that says where."""

from __future__ import annotations

import pytest

from controlplane.model import address, parse, with_weights
from lensora.core.errors import InvalidArgument, NotFound

GOOD = """\
# our mesh
tls: true
services:
  mesh3d:  # slabs live here
    stable: {weight: 90, endpoints: ["mesh3d:50054", "10.0.0.7:50054"]}
    canary: {weight: 10, endpoints: ["[fd00::1]:50054"]}
  segment:
    stable:
      weight: 100
      service: segment-stable
"""


def test_defaults() -> None:
    mesh = parse(GOOD)
    segment = mesh.services["segment"]
    assert (segment.canary.weight, segment.canary.endpoints) == (0, ())
    assert segment.retry.attempts > 1 and segment.outliers is not None
    assert mesh.services["mesh3d"].track("canary").endpoints == ("[fd00::1]:50054",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the mesh"),
        ("services: {}", "services"),
        ("services: [", "flow"),
        ("services: {a: {stable: {weight: 99}}}", "add up to 99"),
        ("services: {a: {stable: {weight: 50}, canary: {weight: 60}}}", "add up to 110"),
        ("services: {a: {stable: {weight: 101}, canary: {weight: -1}}}", "services.a"),
        ("services: {A_: {stable: {weight: 100}}}", "services"),
        ("services: {a: {stable: {weight: 100, endpoints: [nowhere]}}}", "'nowhere' is not host:port"),
        ("services: {a: {stable: {weight: 100, endpoints: ['a:0']}}}", "not host:port"),
        ("services: {a: {stable: {weight: 100, endpoints: ['a:65536']}}}", "not host:port"),
        ("services: {a: {stable: {weight: 100, endpoints: ['a:1'], service: s}}}", "not both"),
        ("services: {a: {stable: {weight: 9, endpoints: ['a:1']}, canary: {weight: 91, endpoints: ['a:1']}}}", "both"),
        ("services: {a: {stable: {weight: 9, service: s}, canary: {weight: 91, service: s}}}", "s is in both tracks"),
        ("services: {a: {stable: {weight: 100}, retries: 3}}", "services.a.retries"),
        ("services: {a: {stable: {weight: 100}, retry: {attempts: 6}}}", "retry.attempts"),
        ("services: {a: {stable: {weight: 100}, timeout_s: 0}}", "timeout_s"),
        ("!!python/object:os.system x", "tag"),
        ("x" * 300_000, "characters"),
        ("[" * 400, "refused whole"),
    ],
)
def test_what_breaks_a_rule_is_refused_whole(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(text)
    assert refused.value.reason == "MESH_INVALID" and why in refused.value.message


def test_new_weights_leave_the_rest_as_it_was_written() -> None:
    text = with_weights(GOOD, "mesh3d", {"stable": 75, "canary": 25})
    assert text == GOOD.replace("weight: 90", "weight: 75").replace("weight: 10,", "weight: 25,")
    text = with_weights(text, "segment", {"stable": 99, "canary": 1})
    assert parse(text).services["segment"].canary.weight == 1


def test_weights_that_make_no_sense_are_refused() -> None:
    with pytest.raises(NotFound, match="mesh3d, segment"):
        with_weights(GOOD, "render", {"stable": 100, "canary": 0})
    for weights in ({"stable": 100}, {"stable": 50, "green": 50}, {"stable": 50, "canary": 51}):
        with pytest.raises(InvalidArgument):
            with_weights(GOOD, "mesh3d", weights)


def test_addresses() -> None:
    assert address("mesh3d:50054") == ("mesh3d", 50054)
    assert address("[::1]:1") == ("::1", 1)
