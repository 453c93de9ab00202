"""The statements of an event store: what is a row, and how it is read back."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from edge_tsm.datatypes import Event, Media, iso
from edge_tsm.events.database import transaction
from edge_tsm.events.query import EventQuery, Feedback
from edge_tsm.events.record import Message
from edge_tsm.system.jsontext import to_json

_EVENT = (
    "id, source, label, class_index, score, start_s, told_s, ended, start_utc, end_utc, decided_utc"
)


@dataclass
class DestinationState:
    """How far a destination is; the file may be behind while it cannot be written.

    `taken` is the message that is on its way: it is not lost before that has failed. `again` are
    those that it refused before: whoever mended a token or an address has them sent once more.
    """

    cursor: int
    delivered: int = 0
    parked: int = 0
    lost: int = 0
    taken: int = 0
    again: list[Message] = field(default_factory=list)


class Rows:
    """Reads and writes rows; each method that writes is one transaction.

    Every method raises what sqlite3 does.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def insert(self, event: Event | None, message: Message) -> None:
        """Write a message and the event that it is about; a change of state has none."""
        with transaction(self._db):
            if event is not None:
                self._insert_event(event)
                event = replace(event, media=self.media(event.id))
            body = message.body if event is None or not event.media else _body(event, message.kind)
            self._insert_message(replace(message, body=body))

    def keep_media(self, media: Media, event_id: str, number: int) -> None:
        """Note that a file is there, and that destinations are to be told of it."""
        with transaction(self._db):
            self._db.execute("UPDATE media SET state = 'kept' WHERE path = ?", (media.path,))
            event = self.event(event_id)
            if event is not None:
                body = _body(event, media.kind)
                self._insert_message(Message(number, event_id, media.kind, body))

    def write(self, statement: str, *values: object) -> None:
        """Do one statement."""
        with transaction(self._db):
            self._db.execute(statement, values)

    def save_destination(self, name: str, state: DestinationState) -> None:
        """Write how far a destination is."""
        self.write(
            "INSERT INTO destinations VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " cursor = excluded.cursor, delivered = excluded.delivered,"
            " parked = excluded.parked, lost = excluded.lost",
            *(name, state.cursor, state.delivered, state.parked, state.lost),
        )

    def delete_event(self, event_id: str) -> None:
        """Remove an event and all that belongs to it."""
        with transaction(self._db):
            for table in ("messages", "parked"):
                self._db.execute(f"DELETE FROM {table} WHERE event_id = ?", (event_id,))
            self._db.execute("DELETE FROM events WHERE id = ?", (event_id,))

    def destinations(self) -> dict[str, DestinationState]:
        """Return the destinations there have been."""
        rows = self.all("SELECT * FROM destinations")
        return {name: DestinationState(*state) for name, *state in rows}

    def refused(self, destination: str, most: int = -1) -> list[Message]:
        """Return what a destination has refused, the longest ago if not all, oldest first."""
        query = "SELECT messages.* FROM messages JOIN parked USING (event_id, kind)"
        query += " WHERE destination = ? ORDER BY parked.rowid LIMIT ?"
        rows = self.all(query, destination, most)
        return sorted((Message(*row) for row in rows), key=lambda message: message.number)

    def message_after(self, number: int) -> Message | None:
        """Return the first message with a larger number."""
        query = "SELECT * FROM messages WHERE number > ? ORDER BY number LIMIT 1"
        return next((Message(*row) for row in self.all(query, number)), None)

    def has_message(self, event_id: str, kind: str) -> bool:
        """Return whether there is such a message."""
        query = "SELECT count(*) FROM messages WHERE event_id = ? AND kind = ?"
        return self.one(query, event_id, kind) > 0

    def newest_number(self) -> int:
        """Return the number of the newest message there ever was."""
        told = self.one("SELECT coalesce(max(cursor), 0) FROM destinations")
        return max(told, self.one("SELECT coalesce(max(number), 0) FROM messages"))

    def find(self, query: EventQuery, most: int) -> list[Event]:
        """Return the newest events that are asked for, newest first."""
        where, values = query.where()
        return self._events(f"{where} ORDER BY number DESC LIMIT ?", *values, most)

    def count(self, query: EventQuery) -> int:
        """Return how many events are asked for."""
        where, values = query.where()
        return self.one(f"SELECT count(*) FROM events {where}", *values)

    def feedback(self, event_id: str) -> Feedback | None:
        """Return what was said of an event."""
        query = "SELECT verdict, label, utc FROM feedback WHERE event_id = ?"
        for verdict, label, utc in self.all(query, event_id):
            return Feedback(verdict, label, datetime.fromisoformat(utc))
        return None

    def keep_feedback(self, event_id: str, said: Feedback | None) -> None:
        """Note what is said of an event, or that nothing is."""
        if said is None:
            self.write("DELETE FROM feedback WHERE event_id = ?", event_id)
            return
        values = (event_id, said.verdict, said.label, iso(said.utc))
        self.write("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?)", *values)

    def unended(self) -> list[Event]:
        """Return the starts without an end, oldest first."""
        return self._events("WHERE NOT ended ORDER BY number")

    def event(self, event_id: str) -> Event | None:
        """Return one event, None if there is none."""
        return next(iter(self._events("WHERE id = ?", event_id)), None)

    def media(self, event_id: str) -> tuple[Media, ...]:
        """Return the files of an event that are there."""
        query = "SELECT kind, path FROM media WHERE event_id = ? AND state = 'kept' ORDER BY rowid"
        return tuple(Media(*row) for row in self.all(query, event_id))

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return every row."""
        return self._db.execute(query, values).fetchall()

    def one(self, query: str, *values: object) -> int:
        """Return the number that a query gives."""
        return int(self._db.execute(query, values).fetchone()[0])

    def column(self, query: str, *values: object) -> list[Any]:
        """Return the first value of every row."""
        return [row[0] for row in self.all(query, *values)]

    def _events(self, which: str, *values: object) -> list[Event]:
        rows = self.all(f"SELECT {_EVENT} FROM events {which}", *values)
        return [self._event(*row) for row in rows]

    def _event(self, event_id: str, source: str | None, label: str, *rest: Any) -> Event:
        index, score, start_s, told_s, ended, *times = rest
        start_utc, end_utc, decided_utc = (t and datetime.fromisoformat(t) for t in times)
        return Event(
            *("end" if ended else "start", index, label, start_s, told_s, score, event_id, source),
            *(start_utc, end_utc, decided_utc),
            media=self.media(event_id),
        )

    def _insert_event(self, event: Event) -> None:
        self._db.execute(
            f"INSERT INTO events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET score = excluded.score, told_s = excluded.told_s,"
            " ended = excluded.ended, end_utc = excluded.end_utc,"
            " decided_utc = excluded.decided_utc",
            (
                *(event.id, event.source, event.label, event.index, event.score),
                *(event.start_s, event.told_s, event.kind == "end"),
                *map(iso, (event.start_utc, event.end_utc, event.decided_utc)),
            ),
        )

    def _insert_message(self, message: Message) -> None:
        row = (message.number, message.event_id, message.kind, message.body)
        self._db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", row)


def _body(event: Event, kind: str) -> str:
    return to_json(event.to_json() | {"kind": kind})
