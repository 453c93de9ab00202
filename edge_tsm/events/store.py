"""Keeps events with their media, and says what each destination has not been told yet."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_tsm.datatypes import Event, Media, StateChange, iso
from edge_tsm.errors import SinkError
from edge_tsm.events.database import connect
from edge_tsm.events.limits import Limits
from edge_tsm.events.logits import LogitLog
from edge_tsm.events.query import EventQuery, Feedback
from edge_tsm.events.record import Message, state_record
from edge_tsm.events.rows import DestinationState, Rows
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.jsontext import to_json

RETRY_S = 5.0
MOST_WAITING = 1000  # messages that memory holds while the file cannot be written
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryCounts:
    """What became of the messages for one destination, since its first use.

    `pending` have not been accepted yet, `parked` were refused, `lost` fell to a limit before.
    """

    delivered: int
    pending: int
    parked: int
    lost: int


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
        SinkError: the file is something else, of a newer edge-tsm, in use, or cannot be written;
            a `DiskFullError` where that may pass.

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
            connection = connect(path, stack)
            self._rows = Rows(connection)
            self.logits = LogitLog(connection, self._io)
            try:
                self._number = self._rows.newest_number()
                self._destinations = self._rows.destinations()
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
            with suppress(SinkError):
                self.logits.flush()
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

    def events(self, query: EventQuery | None = None, *, most: int = 100) -> list[Event]:
        """Return the newest events, newest first; one whose action is on is a start.

        Raises:
            SinkError: the file cannot be read.
        """
        with self._io():
            return self._rows.find(query or EventQuery(), most)

    def count(self, query: EventQuery | None = None) -> int:
        """Return how many events there are.

        Raises:
            SinkError: the file cannot be read.
        """
        with self._io():
            return self._rows.count(query or EventQuery())

    def feedback(self, event_id: str) -> Feedback | None:
        """Return what someone said of an event, None if nobody did.

        Raises:
            SinkError: the file cannot be read.
        """
        with self._io():
            return self._rows.feedback(event_id)

    def judge(self, event_id: str, said: Feedback | None) -> None:
        """Keep what someone says of an event, or, with None, forget it; it goes with the event.

        Raises:
            SinkError: the file cannot be written, or there is no such event.
        """
        with self._io():
            if self._rows.event(event_id) is None:
                raise SinkError(f"{self._name}: there is no event {event_id}")
            self._rows.keep_feedback(event_id, said)

    def event(self, event_id: str) -> Event | None:
        """Return one event, None if it is not kept.

        Raises:
            SinkError: the file cannot be read.
        """
        with self._io():
            return self._rows.event(event_id)

    # --- media ---

    @contextmanager
    def adding(self, event: Event, media: Media) -> Iterator[None]:
        """Note a file of an event; the block writes it, under `part_of(path)` at first.

        If the block raises, or the process is killed, neither the file nor the note remains.

        Raises:
            SinkError: the event file cannot be written.
        """
        note = "INSERT OR REPLACE INTO media VALUES (?, ?, ?, 'writing')"
        if not self.add(event):
            raise SinkError(f"{self._name} cannot be written, so {media.path} would be of no event")
        with self._io():
            self._rows.write(note, media.path, event.id, media.kind)
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
        self._try("UPDATE media SET state = 'removing' WHERE path = ?", str(path))
        yield
        self._try("DELETE FROM media WHERE path = ?", str(path))

    # --- destinations ---

    def register(self, destination: str) -> DeliveryCounts:
        """Tell a destination from now on; one that is known goes on where it was.

        What it refused before is tried once more, first of all.
        """
        with self._lock:
            state = self._destinations.setdefault(destination, DestinationState(self._number))
            with suppress(SinkError), self._io():
                state.again = self._rows.refused(destination)
            self._save_destination(destination)
        return self.counts(destination)

    def retry(self, destination: str, most: int) -> None:
        """Tell a destination once more, first of all, what it refused the longest ago."""
        with self._lock, suppress(SinkError), self._io():
            self._destinations[destination].again = self._rows.refused(destination, most)

    def next(self, destination: str) -> Message | None:
        """Return the oldest message that a destination has not been told, None if it has all."""
        with self._lock:
            state = self._destinations[destination]
            if self._closed or state.again:
                return None if self._closed else state.again[0]
            found = None
            with suppress(SinkError), self._io():
                found = self._rows.message_after(state.cursor)
            if found is None:
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
            if message in state.again:
                state.again.remove(message)
                state.parked -= 1
            state.cursor = max(state.cursor, message.number)
            state.delivered += refused is None
            state.parked += refused is not None
            self._save_destination(destination)
            key = (destination, message.event_id, message.kind)
            if refused is None:
                where = "destination = ? AND event_id = ? AND kind = ?"
                self._try(f"DELETE FROM parked WHERE {where}", *key)
            else:
                self._try("INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?)", *key, refused)

    def counts(self, destination: str) -> DeliveryCounts:
        """Return what became of a destination's messages so far."""
        with self._lock:
            state = self._destinations[destination]
            pending = len(state.again)
            pending += sum(message.number > state.cursor for _, message in self._waiting)
            with suppress(SinkError), self._io():
                untold = "SELECT count(*) FROM messages WHERE number > ?"
                pending += self._rows.one(untold, state.cursor)
            return DeliveryCounts(
                state.delivered, pending, state.parked - len(state.again), state.lost
            )

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
                self._rows.insert(*self._waiting[0])
            except sqlite3.IntegrityError as error:  # as a score that is NaN: never a row
                _log.warning("%s: an event cannot be kept (%s)", self._name, error)
                self._lose_waiting()
            except sqlite3.Error as error:
                self._fail(error)
                return
            else:
                self._waiting.popleft()
        with suppress(SinkError), self._io():
            self._trim()
            self._recover()

    def _keep(self, media: Media, event_id: str) -> None:
        """Note that a file is there, and tell of it: after what still waits."""
        with self._lock:
            self._flush()
            if self._waiting:
                raise SinkError(f"{media.path}: {self._name} cannot be written")
            self._number += 1
            with self._io():
                self._rows.keep_media(media, event_id, self._number)

    def _forget(self, path: str) -> None:
        """Remove a file that was being written, whole or not, and the note of it."""
        for leftover in (Path(path), part_of(Path(path))):
            leftover.unlink(missing_ok=True)
        self._try("DELETE FROM media WHERE path = ?", path)

    @contextmanager
    def _io(self) -> Iterator[None]:
        """Hold the lock, and translate what sqlite3 raises.

        Raises:
            SinkError: the store is closed, or the file cannot be read or written.
        """
        with self._lock:
            self._refuse_closed()
            try:
                yield
            except sqlite3.Error as error:
                self._fail(error)
                raise SinkError(f"{self._name}: cannot be used ({error})") from error

    def _try(self, statement: str, *values: object) -> None:
        """Write what may also be lost: the next start finds it out again."""
        with suppress(SinkError), self._io():
            self._rows.write(statement, *values)

    def _save_destination(self, name: str) -> None:
        with suppress(SinkError), self._io():
            self._rows.save_destination(name, self._destinations[name])

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
            for name, state in self._destinations.items():
                self._rows.save_destination(name, state)
            _log.warning("%s: is written again, %d messages lost", self._name, self._lost_waiting)
            self._failing, self._lost_waiting = False, 0

    def _bound_waiting(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            self._lose_waiting()

    def _lose_waiting(self) -> None:
        _, message = self._waiting.popleft()
        self._lost_waiting += 1
        self._count_lost([message.number])

    def _count_lost(self, numbers: list[int]) -> None:
        for state in self._destinations.values():
            state.lost += sum(state.cursor < number != state.taken for number in numbers)

    # --- retention, with the lock held ---

    def _trim(self) -> None:
        """Remove what exceeds the limits."""
        for event_id in self._too_many() + self._too_old():
            try:
                self._remove(event_id)
            except OSError as error:
                _log.debug("%s: %s stays for now (%s)", self._name, event_id, error)
        self._trim_changes()

    def _too_many(self) -> list[str]:
        excess = self._rows.one("SELECT count(*) FROM events") - self._limits.most_events
        query = "SELECT id FROM events ORDER BY number LIMIT ?"
        return self._rows.column(query, max(excess, 0))

    def _too_old(self) -> list[str]:
        if self._limits.most_age_s is None:
            return []
        oldest = datetime.now(timezone.utc) - timedelta(seconds=self._limits.most_age_s)
        query = "SELECT id FROM events WHERE ended AND decided_utc < ?"
        return self._rows.column(query, iso(oldest))

    def _remove(self, event_id: str) -> None:
        """Note that files go, remove them, then the rows: a kill in between leaves no orphan."""
        rows = self._rows
        rows.write("UPDATE media SET state = 'removing' WHERE event_id = ?", event_id)
        for path in rows.column("SELECT path FROM media WHERE event_id = ?", event_id):
            Path(path).unlink(missing_ok=True)
        numbers = rows.column("SELECT number FROM messages WHERE event_id = ?", event_id)
        rows.delete_event(event_id)
        self._count_lost(numbers)

    def _trim_changes(self) -> None:
        """Remove the oldest changes of state, as many as there are too many."""
        excess = self._rows.one("SELECT count(*) FROM messages WHERE kind = 'state'")
        excess -= self._limits.most_events
        query = "SELECT number FROM messages WHERE kind = 'state' ORDER BY number LIMIT ?"
        for number in self._rows.column(query, max(excess, 0)):
            self._rows.write("DELETE FROM messages WHERE number = ?", number)
            self._count_lost([number])

    def _sweep(self) -> None:
        """Finish what a killed process was at, and forget media that somebody removed."""
        for path, state in self._rows.all("SELECT path, state FROM media"):
            file = Path(path)
            # A folder that is not there may be a disk that is not mounted yet.
            gone = file.parent.is_dir() and not file.exists()
            if state != "kept" or gone:
                self._forget(path)

    def _end_interrupted(self) -> None:
        """End the actions that were on when a process was killed."""
        for event in self._rows.unended():
            since_s = timedelta(seconds=event.told_s - event.start_s)
            end_utc = event.start_utc and event.start_utc + since_s
            self.add(replace(event, kind="end", end_utc=end_utc))

    def _has(self, event_id: str, kind: str) -> bool:
        if any((m.event_id, m.kind) == (event_id, kind) for _, m in self._waiting):
            return True
        with suppress(SinkError), self._io():
            return self._rows.has_message(event_id, kind)
        return False  # a second one would be ignored when it is written

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SinkError(f"{self._name}: the event store is closed")


def part_of(path: Path) -> Path:
    """Return the name that a file has until it is whole: hidden, with the same suffix.

    >>> part_of(Path("starts/edge-tsm-1.jpg")).name
    '.edge-tsm-1.part.jpg'
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")
