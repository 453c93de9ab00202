"""A folder with a bounded number of files of events, of which the oldest are removed first."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from edge_tsm.datatypes import Event, Media
from edge_tsm.errors import SinkError
from edge_tsm.events import EventStore
from edge_tsm.events.store import part_of
from edge_tsm.system.files import private_file, private_folder, publish

MOST_FILES, MOST_BYTES = 200, 500_000_000
LEFTOVER_S = 3600.0


class RetainedFolder:
    """Files `edge-tsm-NUMBER-TIME-SOURCE-LABEL-ID.suffix`; only such regular files are removed.

    The number and not the time says which is older: a device without a clock starts in 1970. ID is
    the end of the event's id, so that processes that share a folder, and its limits, replace no
    file of each other. For a moment there is one file more than the limits allow, never less than
    the newest. Files and the folder are for their owner alone.

    Args:
        folder: made if missing.
        suffix: of its files, with the dot; files of other suffixes are not its own.
        store: notes each file with its event, and is told when one goes.
        most_files, most_bytes: limits of what is kept.
        wall: seconds since 1970.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        suffix: str,
        *,
        store: EventStore | None = None,
        most_files: int = MOST_FILES,
        most_bytes: int = MOST_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._suffix, self._wall = folder.absolute(), suffix, wall
        self._store, self._most_files, self._most_bytes = store, most_files, most_bytes
        self._own = re.compile(rf"edge-tsm-(\d+)-.*{re.escape(suffix)}")
        try:
            private_folder(folder)
        except OSError as error:
            raise SinkError(f"{folder}: cannot be made ({error.strerror})") from error
        self._remove_leftovers()

    def put(
        self, event: Event, source: str, write: Callable[[Path], None], *, clip: bool = False
    ) -> Path:
        """Let `write` fill a new file of an event, give it its name, and keep to the limits.

        Raises:
            SinkError: the file cannot be written.
        """
        path = self._path(event, source)
        temporary = part_of(path)
        try:
            with self._noted(event, Media("clip" if clip else "snapshot", str(path))):
                private_file(temporary).close()
                write(temporary)
                publish(temporary, path, private=True)
        except OSError as error:
            reason = error if isinstance(error, SinkError) else error.strerror
            raise SinkError(f"{path}: cannot be written ({reason})") from error
        finally:
            temporary.unlink(missing_ok=True)
        self._trim()
        return path

    def _path(self, event: Event, source: str) -> Path:
        now = datetime.fromtimestamp(self._wall(), timezone.utc)
        day = f"{event.decided_utc or now:%Y%m%dT%H%M%SZ}"
        number = max((number for number, _ in self._files()), default=0) + 1
        word = re.sub(r"[^\w-]+", "_", event.label)[:40]
        tail = event.id[-12:] or secrets.token_hex(6)
        stem = f"edge-tsm-{number:06}-{day}-{source}-{word}-{tail}"
        return self._folder / f"{stem}{self._suffix}"

    @contextmanager
    def _noted(self, event: Event, media: Media) -> Iterator[None]:
        if self._store is None or not event.id:
            yield
            return
        with self._store.adding(event, media):
            yield

    def _files(self) -> list[tuple[int, Path]]:
        """Return the files that are this class's own, with their numbers."""
        found = ((self._own.fullmatch(path.name), path) for path in self._folder.iterdir())
        return [(int(m[1]), p) for m, p in found if m and p.is_file() and not p.is_symlink()]

    def _trim(self) -> None:
        kept_bytes = 0
        for newer, (_, path) in enumerate(sorted(self._files(), reverse=True)):
            with suppress(FileNotFoundError):  # another process trims too
                kept_bytes += path.stat().st_size
            if newer and (newer >= self._most_files or kept_bytes > self._most_bytes):
                self._remove(path)

    def _remove(self, path: Path) -> None:
        if self._store is None:
            path.unlink(missing_ok=True)
            return
        with self._store.removing(path):
            path.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what a process that was killed while writing left behind."""
        for path in self._folder.glob(f".edge-tsm-*{self._suffix}"):
            with suppress(FileNotFoundError):
                if self._wall() - path.stat().st_mtime > LEFTOVER_S:
                    path.unlink()
