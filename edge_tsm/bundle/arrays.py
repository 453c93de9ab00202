"""Arrays of an `.npz` file that may come from anybody: sizes are known before anything is made."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge_tsm.errors import CardError

MOST_ARRAYS = 64
LONGEST_HEADER = 10_000
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biuf]\d+)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), *\}\s*"
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (OSError, KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_arrays(path: Path, *, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name.

    A zip file says how large each member unpacks to, and nothing beyond that is unpacked; an array
    says its shape, and none is made that its member could not fill.

    Raises:
        CardError: missing, damaged, larger than `most_bytes` when unpacked, or with objects.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > most_bytes or len(members) > MOST_ARRAYS:
                raise ValueError(f"{len(members)} arrays, {size:,} bytes are more than it may hold")
            return {
                member.filename.removesuffix(".npy"): _read(archive, member) for member in members
            }
    except _DAMAGE as error:
        raise CardError(
            f"{path}: not readable ({error!s:.200}); copy the bundle again, or convert again"
        ) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    name = member.filename
    if member.compress_type not in _METHODS:
        raise ValueError(f"{name}: an unusual compression")
    with archive.open(member) as stream:
        found = _HEADER.fullmatch(_header(stream))
        if found is None:
            raise ValueError(f"{name}: holds no numbers, or is not as numpy writes it")
        descr, fortran, sides = found.groups()
        dtype, shape = np.dtype(descr.decode()), tuple(map(int, re.findall(rb"\d+", sides)))
        size = math.prod(shape) * dtype.itemsize
        if size > member.file_size:
            raise ValueError(f"{name}: ends before its {shape} items")
        data = np.frombuffer(bytearray(stream.read(size)), dtype)
    return data.reshape(shape, order="F" if fortran == b"True" else "C")


def _header(stream: IO[bytes]) -> bytes:
    """Return the description of an array, which numpy would evaluate as Python."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0"):
        raise ValueError("not an array of npy version 1 or 2")
    length = int.from_bytes(stream.read(2 if magic[6] == 1 else 4), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    return stream.read(length)
