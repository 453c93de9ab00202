"""What an ONNX file refers to, read without the onnx package: only the outline of its protobuf."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edge_tsm.errors import BackendError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto


@dataclass(eq=False)
class _Message:
    """The fields of a message of onnx.proto that lead to tensors, by number."""

    fields: dict[int, _Message] = field(default_factory=dict)


_ENTRY = _Message()
_TENSOR = _Message({13: _ENTRY})  # external_data
_SPARSE = _Message({1: _TENSOR, 2: _TENSOR})
_GRAPH, _NODE = _Message(), _Message()
_ATTRIBUTE = _Message(
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
)
_NODE.fields[5] = _ATTRIBUTE
_GRAPH.fields |= {1: _NODE, 5: _TENSOR, 15: _SPARSE}
_FUNCTION = _Message({7: _NODE, 11: _ATTRIBUTE})
_TRAINING = _Message({1: _GRAPH, 2: _GRAPH})
_MODEL = _Message({7: _GRAPH, 20: _TRAINING, 25: _FUNCTION})


def external_files(path: Path) -> set[str]:
    """Return the files that tensors of an ONNX model are kept in, as the model names them.

    Raises:
        BackendError: it is no ONNX file.
    """
    try:
        with path.open("rb") as stream, _mapped(stream) as data:
            if data.find(b"location") < 0:  # most models; walking through all nodes takes a while
                list(_fields(data, 0, len(data)))
                return set()
            return set(_locations(data, 0, len(data), _MODEL))
    except (OSError, ValueError, IndexError) as error:
        raise BackendError(f"{path} is not an ONNX file ({error})") from error


def _mapped(stream: IO[bytes]) -> mmap.mmap:
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _locations(
    data: mmap.mmap, start: int, end: int, kind: _Message, depth: int = 0
) -> Iterator[str]:
    """Yield the values of `location` in a message between two places.

    Raises:
        ValueError: not the outline of a protobuf message.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if kind is _ENTRY:
        yield from _location(data, start, end)
        return
    for number, first, last in _fields(data, start, end):
        if number in kind.fields:
            yield from _locations(data, first, last, kind.fields[number], depth + 1)


def _location(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    texts = {number: data[first:last] for number, first, last in _fields(data, start, end)}
    if texts.get(_KEY) == b"location":
        yield texts.get(_VALUE, b"").decode(errors="backslashreplace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field of a message that has a length."""
    place = start
    while place < end:
        tag, place = _varint(data, place)
        wire = tag & 7
        if wire == _BYTES:
            length, place = _varint(data, place)
            if place + length > end:
                raise ValueError("it ends early")
            yield tag >> 3, place, place + length
            place += length
        elif wire == _VARINT:
            _, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            place += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
    if place != end:
        raise ValueError("it ends early")


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
