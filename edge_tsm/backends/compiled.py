"""What an engine made of an artifact, kept in the user's cache so that the next start is sooner.

An entry belongs to one artifact (by its checksum), one version of its engine, one processor and one
set of options. It is checked like the artifact itself: its checksum is in its first line, and a
file that is not its owner's alone is not read. What does not fit is made anew, never loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_tsm.backends.base import RuntimeOptions
from edge_tsm.system.cache import cache_folder
from edge_tsm.system.files import private_file, private_folder, temporary_beside
from edge_tsm.system.machine import physical_cores, processor_identity

MOST_ENTRIES, MOST_BYTES = 16, 1 << 30
_FORMAT = "edge-tsm compiled 1"
_log = logging.getLogger("edge_tsm")


@dataclass(frozen=True)
class Compiled:
    """A compiled model, and the card that the artifact held."""

    blob: bytes
    card_text: str | None


class CompiledCache:
    """The entry of one artifact. A cache that cannot be read or written is no error.

    Args:
        checksum: of the artifact's files.
        options: what it is opened with; `cache_dir` is the folder, by default the user's cache.
    """

    def __init__(self, checksum: str, options: RuntimeOptions) -> None:
        self._folder = (options.cache_dir or cache_folder()) / "compiled"
        self._known = {
            "artifact": checksum,
            "options": {**asdict(options), "cache_dir": None},
            "cores": physical_cores(),
            "cpu": processor_identity(),
        }

    def read(self, engine: str) -> Compiled | None:
        """Return the entry for an engine, by its name and version; None if there is none."""
        path = self._path(engine)
        try:
            with path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                own = status.st_uid in (0, os.getuid())  # root may fill the cache of an image
                if not own or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    _log.warning("%s may be written by others, and is not used", path)
                    return None
                head, blob = json.loads(stream.readline(1 << 24)), stream.read()
        except (OSError, ValueError):
            return None
        with suppress(OSError):  # the disk may be read-only
            os.utime(path)  # the entries that were used longest ago go first
        if not _fits(head, blob):
            _log.warning("%s is damaged; the model is compiled anew", path)
            self.drop(engine)
            return None
        return Compiled(blob, head.get("card"))

    def write(self, engine: str, compiled: Compiled) -> None:
        """Keep what an engine made, where that can be written."""
        path = self._path(engine)
        head = {"format": _FORMAT, "sha256": _sum(compiled.blob), "card": compiled.card_text}
        try:
            private_folder(self._folder)
            temporary = temporary_beside(path)
            try:
                with private_file(temporary) as stream:
                    stream.write(json.dumps(head).encode() + b"\n")
                    stream.write(compiled.blob)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            self._prune(keep=path)
        except OSError as error:
            _log.info("the compiled model is not kept: %s", error)

    def drop(self, engine: str) -> None:
        """Remove the entry, which does not load."""
        with suppress(OSError):
            self._path(engine).unlink(missing_ok=True)

    def _path(self, engine: str) -> Path:
        text = json.dumps({**self._known, "engine": engine}, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.bin"

    def _prune(self, *, keep: Path) -> None:
        """Remove the entries that were used longest ago, beyond the limits."""
        entries = sorted(self._folder.glob("*.bin"), key=lambda p: p.stat().st_mtime, reverse=True)
        used = 0
        for number, path in enumerate(entries):
            used += path.stat().st_size
            if path != keep and (number >= MOST_ENTRIES or used > MOST_BYTES):
                path.unlink(missing_ok=True)


def _fits(head: Any, blob: bytes) -> bool:
    """Return whether the first line of an entry is that of the rest."""
    is_ours = isinstance(head, Mapping) and head.get("format") == _FORMAT
    return is_ours and head.get("sha256") == _sum(blob)


def _sum(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()
