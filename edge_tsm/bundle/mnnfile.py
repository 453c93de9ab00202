"""What an MNN file says about itself, read without MNN, whose Python package does not tell it.

The file is a flatbuffer (https://flatbuffers.dev/internals): tables point at their fields, and
those that are looked up here are numbered as in MNN's schema.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import BackendError

_NET_EXTRA_INFO, _INFO_BUFFER = 2, 0
_META_ATTRIBUTES = 3  # of the operator that the buffer holds
_ATTRIBUTE_TEXT, _ATTRIBUTE_KEY = 0, 3
_MOST_ENTRIES = 1000


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata that the file took over from the ONNX model that it was made of.

    Raises:
        BackendError: it is no MNN file.
    """
    try:
        info = _root(path.read_bytes()).table(_NET_EXTRA_INFO)
        if info is None or not (buffer := info.content(_INFO_BUFFER)):
            return {}
        return dict(_entries(_root(buffer)))
    except (OSError, ValueError, struct.error) as error:
        raise BackendError(f"{path} is not an MNN file ({error})") from error


def _entries(meta: _Table) -> Iterator[tuple[str, str]]:
    for entry in meta.tables(_META_ATTRIBUTES):
        key, text = (entry.content(field) or b"" for field in (_ATTRIBUTE_KEY, _ATTRIBUTE_TEXT))
        yield key.decode(), text.decode()


def _root(data: bytes) -> _Table:
    return _Table(data, _offset(data, 0))


def _offset(data: bytes, place: int) -> int:
    """Return where the offset at a place points to, which is always further on."""
    (distance,) = struct.unpack_from("<I", data, place)
    return place + int(distance)


@dataclass(frozen=True)
class _Table:
    data: bytes
    place: int

    def _field(self, number: int) -> int | None:
        """Return where a field is, None where the table leaves it out."""
        (back,) = struct.unpack_from("<i", self.data, self.place)
        outline = self.place - back
        if outline < 0:
            raise ValueError("a table without an outline")
        (size,) = struct.unpack_from("<H", self.data, outline)
        entry = 4 + 2 * number
        if entry >= size:
            return None
        (distance,) = struct.unpack_from("<H", self.data, outline + entry)
        return self.place + int(distance) if distance else None

    def table(self, number: int) -> _Table | None:
        """Return the table that a field refers to."""
        field = self._field(number)
        return None if field is None else _Table(self.data, _offset(self.data, field))

    def tables(self, number: int) -> Iterator[_Table]:
        """Yield the tables of a list."""
        field = self._field(number)
        if field is None:
            return
        start, count = self._list(field)
        if count > _MOST_ENTRIES:
            raise ValueError(f"{count} entries")
        for i in range(count):
            yield _Table(self.data, _offset(self.data, start + 4 * i))

    def content(self, number: int) -> bytes | None:
        """Return a text or a list of bytes."""
        field = self._field(number)
        if field is None:
            return None
        start, count = self._list(field)
        if start + count > len(self.data):
            raise ValueError("it ends early")
        return self.data[start : start + count]

    def _list(self, field: int) -> tuple[int, int]:
        """Return where the items of a list start, and how many there are."""
        place = _offset(self.data, field)
        (count,) = struct.unpack_from("<I", self.data, place)
        return place + 4, int(count)
