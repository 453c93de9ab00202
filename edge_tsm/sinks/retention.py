"""A folder with a bounded number of files, of which the oldest are removed first."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_tsm.errors import SinkError
from edge_tsm.system.files import publish_new, temporary_beside

MOST_FILES, MOST_BYTES = 200, 500_000_000
LEFTOVER_S = 3600.0


class RetainedFolder:
    """Files named `edge-tsm-NUMBER-TIME-SOURCE-LABEL.suffix`; only such regular files are removed.

    The number and not the time says which is older: a device without a clock starts in 1970. For
    a moment there is one file more than the limits allow, never less than the newest. Processes
    that share a folder share its limits; none replaces a file of another.

    Args:
        folder: made if missing.
        suffix: of its files, with the dot; files of other suffixes are not its own.
        most_files, most_bytes: limits of what is kept.
        wall: seconds since 1970, for the names.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        suffix: str,
        *,
        most_files: int = MOST_FILES,
        most_bytes: int = MOST_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._suffix, self._wall = folder, suffix, wall
        self._most_files, self._most_bytes = most_files, most_bytes
        self._own = re.compile(rf"edge-tsm-(\d+)-.*{re.escape(suffix)}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{folder}: cannot be made ({error.strerror})") from error
        self._remove_leftovers()

    def put(self, source: str, label: str, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a new file, give it its name, and remove what exceeds the limits.

        Raises:
            SinkError: the file cannot be written.
        """
        day = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        number = max((number for number, _ in self._files()), default=0) + 1
        word = re.sub(r"[^\w-]+", "_", label)[:40]
        stem = f"{day}-{source}-{word}"
        temporary = temporary_beside(self._folder / f"edge-tsm{self._suffix}")
        try:
            write(temporary)
            path = self._publish(temporary, number, stem)
        except SinkError:
            raise
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot be written ({error.strerror})") from error
        finally:
            temporary.unlink(missing_ok=True)
        self._trim()
        return path

    def _publish(self, temporary: Path, number: int, stem: str) -> Path:
        """Give a file its name, with the next number that no other process has taken."""
        while True:
            path = self._folder / f"edge-tsm-{number:06}-{stem}{self._suffix}"
            try:
                publish_new(temporary, path)
            except FileExistsError:
                number += 1
            else:
                return path

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
                path.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what a process that was killed while writing left behind."""
        for path in self._folder.glob(f".edge-tsm-*{self._suffix}"):
            with suppress(FileNotFoundError):
                if self._wall() - path.stat().st_mtime > LEFTOVER_S:
                    path.unlink()
