"""What a LiteRT file carries behind its graph: a zip archive, as LiteRT's own metadata is one.

It holds the card, and the names of inputs and outputs, which the graph itself only numbers.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_tsm.bundle.card import METADATA_KEY, MOST_BYTES
from edge_tsm.bundle.schema import decode
from edge_tsm.errors import BackendError

_NAMES = "edge_tsm.names"


@dataclass(frozen=True)
class Names:
    """The names of a graph's inputs and outputs, in its own order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def append(path: Path, card: str, names: Names) -> None:
    """Put a card and names behind the graph of a file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_KEY, card)
        archive.writestr(_NAMES, json.dumps(asdict(names)))


def read(path: Path) -> tuple[str, Names]:
    """Return card and names.

    Raises:
        BackendError: the file carries none, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [_text(archive, name) for name in (METADATA_KEY, _NAMES)]
        return texts[0], decode(Names, json.loads(texts[1]), str(path), path="names")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BackendError(f"{path} is no LiteRT file of edge-tsm ({error})") from error


def _text(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} is too large")
    return archive.read(name).decode()
