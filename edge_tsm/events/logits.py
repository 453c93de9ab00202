"""Logits of the last hours, beside the events: other rules can be tried on them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from edge_tsm.datatypes import Activation, Logits
from edge_tsm.events.database import transaction

FLUSH_S, MOST_BUFFERED = 10.0, 256  # a flash card is written to every ten seconds, not every answer
_OVERHEAD_BYTES = 100  # of a row, beside its logits


@dataclass(frozen=True)
class LogitLimits:
    """How many answers are kept: the newest of so many hours, and so many bytes.

    >>> LogitLimits().most_rows(27) > 300_000
    True
    """

    most_age_s: float = 6 * 3600.0
    most_bytes: int = 64 * 1024 * 1024

    def most_rows(self, classes: int) -> int:
        """Return how many answers these bytes hold."""
        return max(self.most_bytes // (4 * classes + _OVERHEAD_BYTES), 1)


@dataclass(frozen=True, eq=False)
class StoredAnswer:
    """What an answer was decided by: its time, by the source's clock, and logits (classes,).

    `utc_s` is the time of day in seconds since 1970, None where only media time is known.
    """

    source: str
    time_s: float
    utc_s: float | None
    logits: Logits


@dataclass(frozen=True, eq=False)
class StoredTrack:
    """The answers of one source in one run, in their order."""

    source: str
    run: int
    answers: tuple[StoredAnswer, ...]


class LogitLog:
    """The part of an event file that keeps logits; for any thread.

    Answers wait in memory for up to ten seconds before they are written: what a `kill -9` takes of
    them is no event.

    Args:
        connection: the file.
        io: holds the file's lock, and translates its errors.
        now: seconds since 1970.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        io: Callable[[], AbstractContextManager[None]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db, self._io, self._now = connection, io, now
        self._buffer: list[StoredAnswer] = []
        self._run: int | None = None
        self._labels, self._activation = "", ""
        self.limits, self._most_rows, self._flushed_s = LogitLimits(), 0, now()

    def begin(
        self,
        labels: tuple[str, ...],
        activation: Activation,
        *,
        limits: LogitLimits | None = None,
    ) -> None:
        """Begin a run of a model with these labels; what is added from now on is its."""
        self.limits, self._run = limits or LogitLimits(), None
        self._labels, self._activation = json.dumps(labels, ensure_ascii=False), activation
        self._most_rows = self.limits.most_rows(len(labels))

    @property
    def is_begun(self) -> bool:
        """Whether answers are kept."""
        return bool(self._labels)

    def add(self, answer: StoredAnswer) -> None:
        """Keep an answer.

        Raises:
            SinkError: the file cannot be written.
        """
        with self._io():
            self._buffer.append(answer)
            due = abs(self._now() - self._flushed_s) >= FLUSH_S
            if due or len(self._buffer) >= MOST_BUFFERED:
                self._flush()

    def flush(self) -> None:
        """Write what waits in memory.

        Raises:
            SinkError: the file cannot be written.
        """
        with self._io():
            self._flush()

    def tracks(self, most_age_s: float) -> list[StoredTrack]:
        """Return the answers of the last seconds that a model with the same labels gave.

        Raises:
            SinkError: the file cannot be read.
        """
        query = (
            "SELECT source, run, time_s, utc_s, logits FROM answers JOIN runs USING (run)"
            " WHERE labels = ? AND activation = ? AND kept_s >= ? ORDER BY source, run, number"
        )
        with self._io():
            self._flush()
            values = (self._labels, self._activation, self._now() - most_age_s)
            rows = self._db.execute(query, values).fetchall()
        return [
            StoredTrack(source, run, tuple(_answer(row) for row in group))
            for (source, run), group in groupby(rows, key=lambda row: (row[0], row[1]))
        ]

    def oldest_utc_s(self) -> float | None:
        """Return when the oldest answer that is kept was written, in seconds since 1970.

        Raises:
            SinkError: the file cannot be read.
        """
        with self._io():
            oldest: float | None = self._db.execute("SELECT min(kept_s) FROM answers").fetchone()[0]
        return oldest

    def _flush(self) -> None:
        """Write what waits, and remove what is too much; a file that cannot be written loses it."""
        rows, self._buffer, self._flushed_s = self._buffer, [], self._now()
        if not rows:
            return
        with transaction(self._db):
            run = self._run or self._insert_run()
            self._db.executemany(
                "INSERT INTO answers (run, source, time_s, utc_s, kept_s, logits)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                self._values(rows, run),
            )
            self._trim(run)
        self._run = run  # it is there for good, now that it is committed

    def _insert_run(self) -> int:
        statement = "INSERT INTO runs (labels, activation) VALUES (?, ?)"
        return self._db.execute(statement, (self._labels, self._activation)).lastrowid or 0

    def _values(self, rows: list[StoredAnswer], run: int) -> Iterator[tuple[object, ...]]:
        for row in rows:
            logits = np.ascontiguousarray(row.logits, "<f4").tobytes()
            yield run, row.source, row.time_s, row.utc_s, self._flushed_s, logits

    def _trim(self, run: int) -> None:
        newest = self._db.execute("SELECT max(number) FROM answers").fetchone()[0]
        self._db.execute(
            "DELETE FROM answers WHERE number <= ? OR kept_s < ?",
            (newest - self._most_rows, self._flushed_s - self.limits.most_age_s),
        )
        self._db.execute(
            "DELETE FROM runs WHERE run <> ? AND run NOT IN (SELECT run FROM answers)",
            (run,),
        )


def _answer(row: tuple[str, int, float, float | None, bytes]) -> StoredAnswer:
    source, _, time_s, utc_s, logits = row
    return StoredAnswer(source, time_s, utc_s, np.frombuffer(logits, "<f4").astype(np.float32))
