"""The SQLite file of an event store: opened, refused, locked to one process."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_tsm.errors import SinkError

SCHEMA = 2
APPLICATION = 0x4554534D  # "ETSM", what `file` shows too
CACHE_KIB = 256  # SQLite's own 2 MiB fill over days, which looks like a leak, and save little
_FULL = ("database or disk is full", "disk I/O error")  # the second for its shared memory
_TABLES = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order; the time of day may be set back
    id TEXT NOT NULL UNIQUE,
    source TEXT, label TEXT NOT NULL, class_index INTEGER NOT NULL, score REAL NOT NULL,
    start_s REAL NOT NULL, told_s REAL NOT NULL, ended INTEGER NOT NULL,
    start_utc TEXT, end_utc TEXT, decided_utc TEXT
);
CREATE TABLE media (
    path TEXT PRIMARY KEY,
    event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('writing', 'kept', 'removing'))
);
CREATE INDEX media_of_event ON media (event_id);
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,  -- of kind state: no event
    UNIQUE (event_id, kind)
);
CREATE INDEX changes_of_state ON messages (number)  -- counted at every event
    WHERE kind = 'state';
CREATE TABLE destinations (  -- each has all messages up to `cursor` behind it
    name TEXT PRIMARY KEY, cursor INTEGER NOT NULL,
    delivered INTEGER NOT NULL, parked INTEGER NOT NULL, lost INTEGER NOT NULL
);
CREATE TABLE parked (  -- messages that a destination refuses
    destination TEXT NOT NULL REFERENCES destinations (name) ON DELETE CASCADE,
    event_id TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (destination, event_id, kind)
);
"""

# What each later schema adds: a file of an older edge-tsm gets it when it is opened.
_ADDED = {
    2: """
CREATE TABLE feedback (  -- what people say of an event
    event_id TEXT PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
    verdict TEXT NOT NULL CHECK (verdict IN ('up', 'down')), label TEXT, utc TEXT NOT NULL
);
CREATE TABLE runs (  -- whose answers are kept: times of two runs have nothing to do with each other
    run INTEGER PRIMARY KEY, labels TEXT NOT NULL, activation TEXT NOT NULL
);
CREATE TABLE answers (  -- of the last hours, for rules to be tried on
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (run), source TEXT NOT NULL,
    time_s REAL NOT NULL, utc_s REAL, kept_s REAL NOT NULL,  -- kept_s: when it was written
    logits BLOB NOT NULL  -- float32, little-endian
);
""",
}


class DiskFullError(SinkError):
    """The file is all right, and there is no room to open it."""


def connect(path: Path | None, stack: ExitStack) -> sqlite3.Connection:
    """Open an event file, made if missing, or a store in memory; `stack` closes it.

    Raises:
        SinkError: it cannot be written, is something else, of a newer edge-tsm, or in use.
        DiskFullError: there is no room.
    """
    try:
        if path is not None:
            _lock(path, stack)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        stack.callback(connection.close)
        _prepare(connection, path)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, SinkError):
            raise
        reason = str(getattr(error, "strerror", None) or error)
        full = getattr(error, "errno", None) == errno.ENOSPC or reason in _FULL
        kind = DiskFullError if full else SinkError
        raise kind(f"{path}: cannot be used as an event file ({reason})") from error
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _lock(path: Path, stack: ExitStack) -> None:
    """Keep a second process out: both would deliver the same events."""
    handle = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SinkError(
            f"{path} is in use by another edge-tsm; give each its own event file"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables of a new file; refuse what is not an event file of this schema."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    is_new = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not is_new and owner != APPLICATION:
        raise SinkError(f"{path} is a database of something else, not an event file of edge-tsm")
    if version > SCHEMA:
        raise SinkError(
            f"{path} is of a newer edge-tsm (schema {version}; this one knows {SCHEMA})"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: what was committed outlasts a power cut. Events are too rare for its fsync to matter.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    added = [_TABLES] if is_new else []
    added += [text for number, text in _ADDED.items() if is_new or number > version]
    if added:
        with transaction(connection):
            for statement in ";\n".join(added).split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
