"""What a source is called: an id that answers and files carry, beside an address for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import InputError
from edge_tsm.system.secrets import resolve

_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,64}")


def source_ids(names: Sequence[str | None]) -> list[str]:
    """Return the id of each source: its name, or where it stands in the list.

    Raises:
        InputError: a name that is no id, or two sources with the same one.

    >>> source_ids(["porch", None, None])
    ['porch', '1', '2']
    """
    ids = [str(index) if name is None else name for index, name in enumerate(names)]
    for index, source in enumerate(ids):
        if not _ID.fullmatch(source):
            raise InputError(f"source name {source!r}: use 1 to 64 of the characters A-Za-z0-9_.-")
        if source in ids[:index]:
            raise InputError(f"two sources are called {source!r}; give each a name of its own")
    return ids


@dataclass(frozen=True)
class NamedAddress:
    """What `open_source` takes, and the id that it is to have, if any."""

    address: str | int
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> NamedAddress:
        """Read `NAME=ADDRESS` or an address.

        The whole is an address where what stands before the first `=` is no id, as in URLs and
        GStreamer pipelines, and where a file or folder has that name. An address may be named
        instead of written out, as `env:NAME` or `file:PATH`.

        Raises:
            InputError: what `env:` or `file:` name cannot be had.

        >>> NamedAddress.parse("porch=rtsp://camera/1?stream=2")
        NamedAddress(address='rtsp://camera/1?stream=2', name='porch')
        >>> NamedAddress.parse("rtsp://camera/1?stream=2")
        NamedAddress(address='rtsp://camera/1?stream=2', name=None)
        """
        name, _, address = text.partition("=")
        if address and _ID.fullmatch(name) and not _exists(text):
            return cls(resolve(address), name)
        return cls(resolve(text))


def describe_source(source: str, address: str | None) -> str:
    """Return a source as people are shown it: its id, and the address where one is known.

    >>> describe_source("porch", "rtsp://***@camera/1")
    'porch (rtsp://***@camera/1)'
    """
    return f"{source} ({address})" if address else source


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a path may be, or with a NUL
        return False
