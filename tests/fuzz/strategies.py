"""What hostile callers send: messages made from their descriptors, and files that were whole once."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from lensora.core.blobs import sha256_hex

Msg = TypeVar("Msg", bound=Message)

Pack = Callable[[dict[str, Any], bytes], bytes]
"""Makes a GLB of its JSON and its binary chunk."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Quiet(Generic[T]):
    """An argument of a strategy that would fill a screen if it were printed."""

    value: T = field(repr=False)


def text(longest: int) -> st.SearchStrategy[str]:
    """Any text that a message can hold, of at most so many characters."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=longest)


def prose(longest: int) -> st.SearchStrategy[str]:
    """Any text of letters, marks, digits, signs and spaces: what passes for words, in whatever script."""
    return st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=longest)


_TEXTS = st.sampled_from(
    [
        *("", " ", "\0", "\n", "\x1b[31m", "\u202e", "a" * 1001, "0" * 64, "../../etc/passwd", "👩\u200d🍳", "\ufffe"),
        *(
            "file:///etc/passwd",
            "file:///",
            "file://[::1",
            "file://%00",
            "https://",
            "https://127.0.0.1/",
            "http://[::]",
        ),
        *("00000000-0000-0000-0000-000000000000", "image/png", "' OR 1=1 --"),
    ]
) | text(40)

_NUMBERS = st.sampled_from([0, 1, 2, -1, 255, 256, 257, 1920, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1])

_REALS = st.floats() | st.sampled_from([0.0, -0.0, 1e-320, 1e308, -1e308, 1.0, 12.0, 0.5])


def _whole(low: int, high: int) -> st.SearchStrategy[int]:
    return _NUMBERS.filter(lambda number: low <= number <= high) | st.integers(low, high)


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _whole(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: _whole(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: _whole(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: _whole(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: _REALS,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 9) | _whole(-(2**31), 2**31 - 1),
}


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXTS
    return _SCALARS[field.cpp_type]


def _fill(draw: st.DrawFn, message: Any) -> None:
    """Set about half of the fields, at every depth, to anything at all."""
    for each in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if each.message_type is None:
            setattr(message, each.name, draw(_scalar(each)))
        else:
            getattr(message, each.name).SetInParent()
            _fill(draw, getattr(message, each.name))


@st.composite
def messages(draw: st.DrawFn, kind: type[Msg]) -> Msg:
    """Any message of that kind; the kinds that callers send have no repeated fields."""
    message = kind()
    _fill(draw, message)
    return message


def _copy(message: Msg) -> Msg:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


@st.composite
def _spoilt(draw: st.DrawFn, whole: _Quiet[Msg]) -> Msg:
    """The message with one to three of its fields, at any depth, set to something else or cleared."""
    message = _copy(whole.value)
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = message
        each = draw(st.sampled_from(tuple(inner.DESCRIPTOR.fields)))
        while each.message_type is not None and each.message_type.fields and draw(st.integers(0, 7)):
            inner = getattr(inner, each.name)
            each = draw(st.sampled_from(tuple(inner.DESCRIPTOR.fields)))
        if each.message_type is not None or not draw(st.integers(0, 7)):
            inner.ClearField(each.name)
        else:
            setattr(inner, each.name, draw(_scalar(each)))
    return message


@st.composite
def _with_bytes(draw: st.DrawFn, whole: _Quiet[Msg], path: str, files: st.SearchStrategy[bytes]) -> Msg:
    """The message with another file in the blob at ``path``, announced rightly, so that its bytes are looked at."""
    message = _copy(whole.value)
    blob: Any = message
    for name in path.split("."):
        blob = getattr(blob, name)
    blob.inline = draw(files)
    blob.sha256, blob.size = sha256_hex(blob.inline), len(blob.inline)
    return message


def requests(whole: Msg, **files: st.SearchStrategy[bytes]) -> st.SearchStrategy[Msg]:
    """Anything, spoilt requests, and requests with mangled files at these paths (dots written as ``__``)."""
    hidden = _Quiet(whole)
    with_files = [_with_bytes(hidden, path.replace("__", "."), made) for path, made in files.items()]
    return st.one_of(messages(type(whole)), _spoilt(hidden), _spoilt(hidden), *with_files, *with_files)


def _flip(draw: st.DrawFn, data: bytearray) -> None:
    data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))


def _cut(draw: st.DrawFn, data: bytearray) -> None:
    del data[draw(st.integers(0, len(data))) :]


def _drop(draw: st.DrawFn, data: bytearray) -> None:
    start = draw(st.integers(0, len(data) - 1))
    del data[start : start + draw(st.integers(1, 64))]


def _repeat(draw: st.DrawFn, data: bytearray) -> None:
    start = draw(st.integers(0, len(data) - 1))
    data[start:start] = data[start : start + draw(st.integers(1, 64))] * draw(st.integers(1, 8))


def _insert(draw: st.DrawFn, data: bytearray) -> None:
    start = draw(st.integers(0, len(data)))
    data[start:start] = draw(st.binary(min_size=1, max_size=16))


def _extreme(draw: st.DrawFn, data: bytearray) -> None:
    """A number of 16 or 32 bits, of either byte order, becomes one at the edge of its range."""
    form = draw(st.sampled_from(["<H", ">H", "<I", ">I"]))
    size = struct.calcsize(form)
    start = draw(st.integers(0, max(0, min(len(data), 512) - size)))  # headers come first
    top = 2 ** (8 * size)
    value = draw(st.sampled_from([0, 1, top - 1, top // 2, top // 2 - 1, 7000, 65535]))
    data[start : start + size] = struct.pack(form, value % top)


_MUTATIONS = (_flip, _flip, _flip, _cut, _drop, _repeat, _insert, _extreme, _extreme)


def mangled(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the files: flipped, cut, spliced with another, its numbers extreme; half of the PNGs with good sums."""
    return _mangled(_Quiet(seeds))


@st.composite
def _mangled(draw: st.DrawFn, seeds: _Quiet[list[bytes]]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds.value)))
    if not draw(st.integers(0, 9)):
        other = draw(st.sampled_from(seeds.value))
        data[draw(st.integers(0, len(data))) :] = other[draw(st.integers(0, len(other))) :]
    for mutate in draw(st.lists(st.sampled_from(_MUTATIONS), min_size=1, max_size=4)):
        if data:
            mutate(draw, data)
    return _mended(bytes(data)) if draw(st.booleans()) else bytes(data)


def _mended(data: bytes) -> bytes:
    """A PNG with the sums that its chunks should have, so that a decoder reads on; other files as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


_JSON: st.SearchStrategy[Any] = (
    st.sampled_from(
        [None, True, -1, 0, 1, 2**31, 2**63, 1e308, float("nan"), float("inf"), "", "x" * 300, [], {}, [[]]]
    )
    | st.integers(-3, 10**6)
    | st.floats()
).map(copy.deepcopy)  # what is put into a document may be spoilt in turn


def spoilt_glb(seeds: list[tuple[dict[str, Any], bytes]], pack: Pack) -> st.SearchStrategy[bytes]:
    """A GLB whose JSON has up to three values replaced, removed or nested, and its binary chunk perhaps mangled."""
    return _spoilt_glb(_Quiet(seeds), pack)


@st.composite
def _spoilt_glb(draw: st.DrawFn, seeds: _Quiet[list[tuple[dict[str, Any], bytes]]], pack: Pack) -> bytes:
    document, binary = draw(st.sampled_from(seeds.value))
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(0, 3))):
        holder, key = _place(draw, document)
        match draw(st.integers(0, 5)):
            case 0:
                del holder[key]
            case 1:
                holder[key] = [holder[key]]
            case _:
                holder[key] = draw(_JSON)
        if not document:
            break
    return pack(document, draw(mangled([binary])) if draw(st.booleans()) else binary)


def _place(draw: st.DrawFn, document: dict[str, Any]) -> tuple[Any, Any]:
    """Some value in the document: what holds it, and its key or index there."""
    holder: Any = document
    while True:
        key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if not (isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 5))):
            return holder, key
        holder = holder[key]
