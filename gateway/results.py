"""What a stage answers: what in it are blobs, whether it can be believed, and under what it is kept."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from lensora.background.v1 import background_pb2
from lensora.core.errors import Internal, InvalidArgument
from lensora.detect.v1 import detect_pb2
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.render.v1 import render_pb2
from lensora.runtime.convert import box_from_proto
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, engine_pb2, geometry_pb2, mesh_pb2

_SHA256 = re.compile(r"[0-9a-f]{64}")


def result_type(service: str, request_name: str) -> Any:
    """The message that answers a request."""
    modules: dict[str, Any] = {
        "detect": detect_pb2,
        "segment": segment_pb2,
        "background": background_pb2,
        "mesh3d": mesh3d_pb2,
        "render": render_pb2,
    }
    return getattr(modules[service], request_name.removesuffix("Request") + "Result")


def announced(result: Message, targets: list[str]) -> list[str]:
    """Digests of the result's bytes.

    Args:
        result: what a service answered.
        targets: where it was to write; each asks for a blob.

    Raises:
        Internal: reason ``STAGE_PROTOCOL`` or ``BLOB_DIGEST``: it cannot be believed.
    """
    blobs = list(find(result, blob_pb2.Blob))
    if len(blobs) < len(targets) or not _sound(result):
        raise Internal("a stage's result lacks something, or makes no sense", reason="STAGE_PROTOCOL")
    if not all(_SHA256.fullmatch(blob.sha256) for blob in blobs):
        raise Internal("a stage announced other than digests", reason="BLOB_DIGEST")
    return [blob.sha256 for blob in blobs]


def find(message: Message, kind: type[Any]) -> Iterator[Any]:
    """All submessages of one type, at any depth."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for item in value if descriptor.is_repeated else (value,):
            if isinstance(item, kind):
                yield item
            else:
                yield from find(item, kind)


def _is_box(box: geometry_pb2.Box) -> bool:
    try:
        box_from_proto(box, "box")
    except InvalidArgument:
        return False
    return True


_RULES: dict[type, Callable[[Any], bool]] = {
    float: math.isfinite,
    geometry_pb2.Box: _is_box,
    mesh_pb2.MeshReport: lambda report: report.verdict in mesh_pb2.Verdict.values()[1:],
    engine_pb2.EngineInfo: lambda engine: bool(engine.fingerprint),
}


def _sound(value: Any) -> bool:
    """Whether all that a result must hold, at any depth, is there and means something."""
    if not _RULES.get(type(value), lambda _: True)(value):
        return False
    if not isinstance(value, Message):
        return True
    fields = ((getattr(value, field.name), field.is_repeated) for field in value.DESCRIPTOR.fields)
    return all(_sound(item) for content, repeated in fields for item in (content if repeated else (content,)))


def stage_digest(service: str, fingerprint: str, request: Message, salt: str) -> str:
    """SHA-256 over what the result depends on; where bytes lie does not matter, what they are does."""
    bare = type(request)()
    bare.CopyFrom(request)
    for blob in find(bare, blob_pb2.Blob):
        blob.ClearField("source")
    name = f"{service}\n{request.DESCRIPTOR.full_name}\n{fingerprint}\n{salt}\n".encode()
    return hashlib.sha256(name + bare.SerializeToString(deterministic=True)).hexdigest()
