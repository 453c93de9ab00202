"""Keeps events with their media, and says what each destination has not been told yet."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_tsm.datatypes import Event, Media, StateChange, iso
from edge_tsm.errors import SinkError
from edge_tsm.events.database import connect, transaction
from edge_tsm.events.record import Message, state_record
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.jsontext import to_json

RETRY_S = 5.0
MOST_WAITING = 1000  # messages that memory holds while the file cannot be written
_EVENT = (
    "id, source, label, class_index, score, start_s, told_s, ended, start_utc, end_utc, decided_utc"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much a store keeps; the oldest events go first, with their media and what was untold.

    >>> Limits(most_events=10).most_age_s is None
    True
    """

    most_events: int = 10_000
    most_age_s: float | None = None


@dataclass(frozen=True)
class DeliveryCounts:
    """What became of the messages for one destination, since its first use.

    `pending` have not been accepted yet, `parked` were refused, `lost` fell to a limit before.
    """

    delivered: int
    pending: int
    parked: int
    lost: int


@dataclass
class _Destination:
    """How far a destination is; the file may be behind while it cannot be written.

    `taken` is the message that is on its way: it is not lost before that has failed.
    """

    cursor: int
    delivered: int = 0
    parked: int = 0
    lost: int = 0
    taken: int = 0


class EventStore:
    """Events in a SQLite file, or in memory: for any thread, each call is one transaction.

    What a call has written outlasts `kill -9` and a power cut. Where the file cannot be written, as
    on a full disk, events wait in memory and are tried again every few seconds; that is logged
    once. An action that was on when a process was killed is ended when the file is opened next, at
    the last time it was known to be on, and media that were being written or removed are removed.

    Args:
        path: the file, made if missing, readable by its owner only; None: in memory.
        limits: how much is kept.
        clock: of pauses.

    Raises:
        SinkError: the file is something else, of a newer edge-tsm, in use, or cannot be written.

    >>> from edge_tsm.datatypes import Event
    >>> with EventStore() as store:
    ...     _ = store.register("webhook")
    ...     _ = store.add(Event("start", 1, "wave", 2.0, 2.5, 0.9, id="0192", source="porch"))
    ...     message = store.next("webhook")
    ...     store.settle("webhook", message)
    ...     print(message.key, [event.label for event in store.events()], store.counts("webhook"))
    0192:start ['wave'] DeliveryCounts(delivered=1, pending=0, parked=0, lost=0)
    """

    def __init__(
        self, path: Path | None = None, *, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._limits, self._clock = limits or Limits(), clock
        self._name, self.lasts = str(path or "events"), path is not None
        self._lock, self._changed, self._version = threading.RLock(), clock.condition(), 0
        self._waiting = deque[tuple[Event | None, Message]]()
        self._failing = self._closed = False
        self._lost_waiting = 0
        with ExitStack() as stack:
            self._db = connect(path, stack)
            try:
                self._number = self._newest()
                self._destinations = self._read_destinations()
                self._sweep()
                self._end_interrupted()
            except (OSError, sqlite3.Error) as error:
                raise SinkError(f"{path}: cannot be used as an event file ({error})") from error
            self._stack = stack.pop_all()

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Try once more to write what waits in memory, and close the file."""
        with self._lock:
            if self._closed:
                return
            self._flush()
            self._closed = True
            if self._waiting:
                _log.warning("%s: %d messages could not be written", self._name, len(self._waiting))
            self._stack.close()
        self.wake()

    # --- events ---

    def add(self, event: Event) -> bool:
        """Keep a start or an end, once; return whether it is in the file, not only in memory.

        Raises:
            ValueError: an event without an id, which an `ActionTracker` gives.
        """
        if not event.id:
            raise ValueError("an event without an id cannot be kept; take it from a tracker")
        return self._tell(event, event.id, event.kind, event.to_json())

    def tell(self, change: StateChange) -> bool:
        """Tell destinations of a change of a source's state, once; return as `add` does."""
        record = state_record(change)
        return self._tell(None, record["id"], record["kind"], record)

    def _tell(
        self, event: Event | None, subject: str, kind: str, record: Mapping[str, Any]
    ) -> bool:
        with self._lock:
            self._refuse_closed()
            if not self._has(subject, kind):
                self._number += 1
                body = to_json(record)
                self._waiting.append((event, Message(self._number, subject, kind, body)))
                self._flush()
                self._bound_waiting()
            stored = not self._waiting
        self.wake()
        return stored

    def events(self, *, most: int = 100) -> list[Event]:
        """Return the newest events, newest first; one whose action is on is a start."""
        query = f"SELECT {_EVENT} FROM events ORDER BY number DESC LIMIT ?"
        with self._lock:
            self._refuse_closed()
            return [self._event(row) for row in self._db.execute(query, (most,)).fetchall()]

    def event(self, event_id: str) -> Event | None:
        """Return one event, None if it is not kept."""
        query = f"SELECT {_EVENT} FROM events WHERE id = ?"
        with self._lock:
            self._refuse_closed()
            row = self._db.execute(query, (event_id,)).fetchone()
            return self._event(row) if row else None

    # --- media ---

    @contextmanager
    def adding(self, event: Event, media: Media) -> Iterator[None]:
        """Note a file of an event; the block writes it, under `part_of(path)` at first.

        If the block raises, or the process is killed, neither the file nor the note remains.

        Raises:
            SinkError: the event file cannot be written.
        """
        self.add(event)
        row = (media.path, event.id, media.kind)
        self._write("INSERT OR REPLACE INTO media VALUES (?, ?, ?, 'writing')", row)
        try:
            yield
            self._keep(media, event.id)
        except BaseException:
            self._forget(media.path)
            raise
        self.wake()

    @contextmanager
    def removing(self, path: Path) -> Iterator[None]:
        """Note that a file goes, if it is one of an event; the block removes it."""
        self._try("UPDATE media SET state = 'removing' WHERE path = ?", (str(path),))
        yield
        self._try("DELETE FROM media WHERE path = ?", (str(path),))

    # --- destinations ---

    def register(self, destination: str) -> DeliveryCounts:
        """Tell a destination from now on; one that is known goes on where it was."""
        with self._lock:
            self._refuse_closed()
            self._destinations.setdefault(destination, _Destination(self._number))
            self._save_destination(destination)
        return self.counts(destination)

    def next(self, destination: str) -> Message | None:
        """Return the oldest message that a destination has not been told, None if it has all."""
        query = "SELECT * FROM messages WHERE number > ? ORDER BY number LIMIT 1"
        with self._lock:
            if self._closed:
                return None
            state = self._destinations[destination]
            if row := self._db.execute(query, (state.cursor,)).fetchone():
                found: Message | None = Message(*row)
            else:
                found = next((m for _, m in self._waiting if m.number > state.cursor), None)
            number = found.number if found else 0
            state.lost += state.cursor < state.taken != number  # it fell to a limit meanwhile
            state.taken = number
            return found

    def settle(self, destination: str, message: Message, *, refused: str | None = None) -> None:
        """Note that a message was accepted, or why it never will be."""
        with self._lock:
            if self._closed:
                return
            state = self._destinations[destination]
            state.cursor = message.number
            state.delivered += refused is None
            state.parked += refused is not None
            self._save_destination(destination)
            if refused is not None:
                parked = (destination, message.event_id, message.kind, refused)
                self._try("INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?)", parked)

    def counts(self, destination: str) -> DeliveryCounts:
        """Return what became of a destination's messages so far."""
        with self._lock:
            state = self._destinations[destination]
            pending = sum(message.number > state.cursor for _, message in self._waiting)
            if not self._closed:
                untold = "SELECT count(*) FROM messages WHERE number > ?"
                pending += self._one(untold, state.cursor)
            return DeliveryCounts(state.delivered, pending, state.parked, state.lost)

    @property
    def version(self) -> int:
        """Grows with every change; see `wait`."""
        return self._version

    def wait(self, version: int, timeout_s: float | None = None) -> None:
        """Wait until there is a newer version than this one, or so many seconds."""
        with self._changed:
            if self._version == version and not self._closed:
                self._changed.wait(timeout_s)

    def wake(self) -> None:
        """End every `wait`."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    # --- writing, with the lock held ---

    def _flush(self) -> None:
        """Write what waits in memory, oldest first, as far as the file can be written."""
        while self._waiting:
            try:
                with transaction(self._db):
                    self._insert(*self._waiting[0])
            except sqlite3.IntegrityError as error:  # as a score that is NaN: never a row
                _log.warning("%s: an event cannot be kept (%s)", self._name, error)
                self._lost_waiting += 1
                self._count_lost([self._waiting[0][1].number])
            except sqlite3.Error as error:
                self._fail(error)
                return
            self._waiting.popleft()
        self._recover()
        self._trim()

    def _insert(self, event: Event | None, message: Message) -> None:
        body = message.body
        if event is not None:
            self._insert_event(event)
            if media := self._media(event.id):
                body = to_json(replace(event, media=media).to_json())
        row = (message.number, message.event_id, message.kind, body)
        self._db.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)

    def _insert_event(self, event: Event) -> None:
        ended = event.kind == "end"
        self._db.execute(
            f"INSERT INTO events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET score = excluded.score, told_s = excluded.told_s,"
            " ended = excluded.ended, end_utc = excluded.end_utc,"
            " decided_utc = excluded.decided_utc",
            (
                *(event.id, event.source, event.label, event.index, event.score),
                *(event.start_s, event.told_s, ended),
                *map(iso, (event.start_utc, event.end_utc, event.decided_utc)),
            ),
        )

    def _keep(self, media: Media, event_id: str) -> None:
        """Note that a file is there, and tell of it."""
        with self._lock:
            self._refuse_closed()
            try:
                with transaction(self._db):
                    self._db.execute(
                        "UPDATE media SET state = 'kept' WHERE path = ?", (media.path,)
                    )
                    event = self.event(event_id)
                    if event is None:
                        raise SinkError(f"{media.path}: its event is no longer kept")
                    self._number += 1
                    body = to_json(event.to_json() | {"kind": media.kind})
                    row = (self._number, event_id, media.kind, body)
                    self._db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", row)
            except sqlite3.Error as error:
                self._fail(error)
                raise SinkError(
                    f"{media.path}: {self._name} cannot be written ({error})"
                ) from error

    def _forget(self, path: str) -> None:
        """Remove a file that was being written, whole or not, and the note of it."""
        for leftover in (Path(path), part_of(Path(path))):
            leftover.unlink(missing_ok=True)
        self._try("DELETE FROM media WHERE path = ?", (path,))

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            self._refuse_closed()
            try:
                with transaction(self._db):
                    self._db.execute(statement, values)
            except sqlite3.Error as error:
                self._fail(error)
                raise SinkError(f"{self._name}: cannot be written ({error})") from error

    def _try(self, statement: str, values: tuple[Any, ...]) -> bool:
        """Write what may also be lost: the next start finds it out again."""
        try:
            self._write(statement, values)
        except SinkError:
            return False
        return True

    def _save_destination(self, name: str) -> None:
        state = self._destinations[name]
        self._try(
            "INSERT INTO destinations VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " cursor = excluded.cursor, delivered = excluded.delivered,"
            " parked = excluded.parked, lost = excluded.lost",
            (name, state.cursor, state.delivered, state.parked, state.lost),
        )

    def _fail(self, error: sqlite3.Error) -> None:
        """Say once that the file cannot be written, and try again from a thread."""
        if self._failing or self._closed:
            return
        self._failing = True
        _log.warning(
            "%s: cannot be written (%s); events are kept in memory until it can", self._name, error
        )
        self._clock.start(self._retry, name="edge-tsm events")

    def _retry(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(RETRY_S)
            with self._lock:
                if self._closed:
                    return
                self._flush()
                if not self._failing:
                    break
        self.wake()

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            for name in self._destinations:
                self._save_destination(name)
            _log.warning("%s: is written again, %d messages lost", self._name, self._lost_waiting)

    def _bound_waiting(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            _, message = self._waiting.popleft()
            self._lost_waiting += 1
            self._count_lost([message.number])

    def _count_lost(self, numbers: list[int]) -> None:
        for state in self._destinations.values():
            state.lost += sum(state.cursor < number != state.taken for number in numbers)

    # --- retention, with the lock held ---

    def _trim(self) -> None:
        """Remove what exceeds the limits: note it, remove files, then rows."""
        victims = self._too_many() + self._too_old()
        for event_id in victims:
            try:
                self._remove(event_id)
            except (OSError, sqlite3.Error) as error:
                _log.debug("%s: %s stays for now (%s)", self._name, event_id, error)
        self._trim_changes()

    def _trim_changes(self) -> None:
        """Remove the oldest changes of state, as many as there are too many."""
        excess = self._one("SELECT count(*) FROM messages WHERE kind = 'state'")
        excess -= self._limits.most_events
        query = "SELECT number FROM messages WHERE kind = 'state' ORDER BY number LIMIT ?"
        for row in self._db.execute(query, (max(excess, 0),)).fetchall():
            self._count_lost([row[0]])
            self._try("DELETE FROM messages WHERE number = ?", row)

    def _too_many(self) -> list[str]:
        excess = self._one("SELECT count(*) FROM events") - self._limits.most_events
        query = "SELECT id FROM events ORDER BY number LIMIT ?"
        return [row[0] for row in self._db.execute(query, (max(excess, 0),))]

    def _too_old(self) -> list[str]:
        if self._limits.most_age_s is None:
            return []
        oldest = datetime.now(timezone.utc) - timedelta(seconds=self._limits.most_age_s)
        query = "SELECT id FROM events WHERE ended AND decided_utc < ?"
        return [row[0] for row in self._db.execute(query, (iso(oldest),))]

    def _remove(self, event_id: str) -> None:
        with transaction(self._db):
            self._db.execute("UPDATE media SET state = 'removing' WHERE event_id = ?", (event_id,))
        for row in self._db.execute("SELECT path FROM media WHERE event_id = ?", (event_id,)):
            Path(row[0]).unlink(missing_ok=True)
        numbers = self._db.execute("SELECT number FROM messages WHERE event_id = ?", (event_id,))
        self._count_lost([row[0] for row in numbers])
        with transaction(self._db):
            for table in ("messages", "parked"):
                self._db.execute(f"DELETE FROM {table} WHERE event_id = ?", (event_id,))
            self._db.execute("DELETE FROM events WHERE id = ?", (event_id,))

    def _sweep(self) -> None:
        """Finish what a killed process was at, and forget media that somebody removed."""
        for path, state in self._db.execute("SELECT path, state FROM media").fetchall():
            file = Path(path)
            # A folder that is not there may be a disk that is not mounted yet.
            gone = file.parent.is_dir() and not file.exists()
            if state != "kept" or gone:
                self._forget(path)

    def _end_interrupted(self) -> None:
        """End the actions that were on when a process was killed."""
        query = f"SELECT {_EVENT} FROM events WHERE NOT ended ORDER BY number"
        for row in self._db.execute(query).fetchall():
            event = self._event(row)
            since_s = timedelta(seconds=event.told_s - event.start_s)
            end_utc = event.start_utc and event.start_utc + since_s
            self.add(replace(event, kind="end", end_utc=end_utc))

    # --- reading, with the lock held ---

    def _has(self, event_id: str, kind: str) -> bool:
        query = "SELECT count(*) FROM messages WHERE event_id = ? AND kind = ?"
        waits = any((m.event_id, m.kind) == (event_id, kind) for _, m in self._waiting)
        return waits or bool(self._one(query, event_id, kind))

    def _event(self, row: tuple[Any, ...]) -> Event:
        event_id, source, label, index, score, start_s, told_s, ended, *times = row
        start_utc, end_utc, decided_utc = (t and datetime.fromisoformat(t) for t in times)
        return Event(
            *("end" if ended else "start", index, label, start_s, told_s, score, event_id, source),
            *(start_utc, end_utc, decided_utc),
            media=self._media(event_id),
        )

    def _media(self, event_id: str) -> tuple[Media, ...]:
        query = "SELECT kind, path FROM media WHERE event_id = ? AND state = 'kept' ORDER BY rowid"
        return tuple(Media(*row) for row in self._db.execute(query, (event_id,)).fetchall())

    def _newest(self) -> int:
        """Return the number of the newest message there ever was."""
        told = self._one("SELECT coalesce(max(cursor), 0) FROM destinations")
        return max(told, self._one("SELECT coalesce(max(number), 0) FROM messages"))

    def _read_destinations(self) -> dict[str, _Destination]:
        rows = self._db.execute("SELECT * FROM destinations")
        return {name: _Destination(*state) for name, *state in rows.fetchall()}

    def _one(self, query: str, *values: object) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SinkError(f"{self._name}: the event store is closed")


def part_of(path: Path) -> Path:
    """Return the name that a file has until it is whole: hidden, with the same suffix.

    >>> part_of(Path("starts/edge-tsm-1.jpg")).name
    '.edge-tsm-1.part.jpg'
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")
