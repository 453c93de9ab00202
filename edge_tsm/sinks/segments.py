"""What is written without an end is cut into numbered pieces, of which the oldest go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SinkError

PAUSE_S = 5.0


@dataclass(frozen=True)
class SegmentLimits:
    """When a piece is over, and how much all of them may take.

    A piece is a quarter of `quota_bytes` at most, so that the quota is never one piece alone.

    >>> SegmentLimits(quota_bytes=1000).most_bytes
    250
    """

    most_s: float = 600.0
    quota_bytes: int = 4_000_000_000

    @property
    def most_bytes(self) -> int:
        """Bytes of one piece."""
        return min(512 << 20, self.quota_bytes // 4)

    def trim(self, pieces: Sequence[Path]) -> None:
        """Remove the oldest of these files or folders, which come oldest first, but the last."""
        import shutil  # slow to import, and every start reads the defaults here

        sizes = [_size(piece) for piece in pieces]
        excess = sum(sizes) - self.quota_bytes
        for piece, size in list(zip(pieces, sizes, strict=True))[:-1]:
            if excess <= 0:
                return
            shutil.rmtree(piece) if piece.is_dir() else piece.unlink()
            excess -= size


class Outage:
    """A disk that cannot be written is left alone for a while, by the time of the frames."""

    def __init__(self) -> None:
        self._error, self._until_s = SinkError(), float("-inf")

    def check(self, frame: Frame) -> None:
        """Raise the last error again, unless it is time for another attempt.

        Raises:
            SinkError: it is not.
        """
        if self._until_s - PAUSE_S <= frame.time_s < self._until_s:
            raise self._error

    def begin(self, frame: Frame, error: SinkError) -> SinkError:
        """Note an error, and return it."""
        self._error, self._until_s = error, frame.time_s + PAUSE_S
        return error


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in files)
