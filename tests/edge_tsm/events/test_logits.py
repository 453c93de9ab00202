"""Logits of the last hours are kept beside the events, as many as there may be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.errors import SinkError
from edge_tsm.events import EventQuery, EventStore, Feedback
from edge_tsm.events.database import _TABLES, APPLICATION, SCHEMA
from edge_tsm.events.logits import (
    FLUSH_S,
    MOST_BUFFERED,
    LogitLimits,
    LogitLog,
    StoredAnswer,
)
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.keeper import open_logits
from tests.helpers.answers import NOON, says, started, stored

LABELS = ("wave", "挥手")
HOUR_S = 3600.0


def answer(number: int, source: str = "porch") -> StoredAnswer:
    logits = np.float32([number, -number / 3])
    return StoredAnswer(source, number / 2, 1e9 + number / 2, logits)


def log_of(store: EventStore, limits: LogitLimits | None = None) -> LogitLog:
    store.logits.begin(LABELS, "softmax", limits=limits)
    return store.logits


def test_what_is_kept_is_read_back_to_the_bit(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as store:
        log = log_of(store)
        for number in range(5):
            log.add(answer(number))
            log.add(answer(number, "hall"))
        hall, porch = log.tracks(HOUR_S)
    assert (hall.source, porch.source) == ("hall", "porch")
    for number, found in enumerate(porch.answers):
        wanted = answer(number)
        assert (found.time_s, found.utc_s) == (wanted.time_s, wanted.utc_s)
        assert found.logits.dtype == np.float32
        np.testing.assert_array_equal(found.logits, wanted.logits)


def test_runs_are_told_apart_and_so_are_models(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    for _ in range(2):
        with EventStore(path) as store:
            log_of(store).add(answer(1))
    with EventStore(path) as store:
        assert [len(track.answers) for track in log_of(store).tracks(HOUR_S)] == [1, 1]
        store.logits.begin(("other",), "softmax")
        assert store.logits.tracks(HOUR_S) == []
        store.logits.begin(LABELS, "sigmoid")
        assert store.logits.tracks(HOUR_S) == []


def test_the_newest_are_kept() -> None:
    with EventStore() as store:
        log = log_of(store, LogitLimits(most_bytes=108 * 10))
        for number in range(MOST_BUFFERED + 5):
            log.add(answer(number))
        [track] = log.tracks(HOUR_S)
        assert [found.time_s for found in track.answers] == [
            number / 2 for number in range(MOST_BUFFERED - 5, MOST_BUFFERED + 5)
        ]


def test_old_ones_go_and_so_do_their_runs() -> None:
    connection, now_s = sqlite3.connect(":memory:", isolation_level=None), [1000.0]
    for statement in _statements():
        connection.execute(statement)
    from contextlib import nullcontext

    log = LogitLog(connection, nullcontext, now=lambda: now_s[0])
    log.begin(LABELS, "softmax", limits=LogitLimits(most_age_s=60))
    log.add(answer(1))
    log.flush()
    now_s[0] += FLUSH_S
    log.add(answer(2))  # written at once: the last time was long ago
    assert connection.execute("SELECT count(*) FROM answers").fetchone() == (2,)
    now_s[0] += 55
    log.add(answer(3))
    assert [a.time_s for track in log.tracks(HOUR_S) for a in track.answers] == [1.0, 1.5]
    assert [a.time_s for track in log.tracks(1.0) for a in track.answers] == [1.5]
    assert log.oldest_utc_s() == 1010.0
    connection.close()


def _statements() -> list[str]:
    with EventStore() as store:
        return [
            row[0]
            for row in store._rows.all("SELECT sql FROM sqlite_master WHERE sql NOTNULL")
            if "sqlite_sequence" not in row[0]
        ]


def test_a_file_of_before_is_brought_up_to_date_with_all_it_has(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    connection = sqlite3.connect(path)
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO events (id, source, label, class_index, score, start_s, told_s, ended)"
        " VALUES ('0192', 'porch', '挥手', 1, 0.9, 1.0, 2.0, 1)"
    )
    connection.commit()
    connection.close()
    with EventStore(path) as store:
        assert [event.label for event in store.events()] == ["挥手"]
        store.judge("0192", Feedback("up", None, NOON))
        log_of(store).add(answer(1))
    with EventStore(path) as store:
        assert store.feedback("0192") == Feedback("up", None, NOON)
        assert len(log_of(store).tracks(HOUR_S)) == 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    connection.close()


def test_a_run_that_could_not_be_written_is_written_with_the_next_answers() -> None:
    with EventStore() as store:
        log = log_of(store)
        fails = "BEGIN SELECT RAISE(FAIL, 'full'); END"
        store._rows.write(f"CREATE TRIGGER full BEFORE INSERT ON answers {fails}")
        log.add(answer(1))
        with pytest.raises(SinkError, match="full"):
            log.flush()
        store._rows.write("DROP TRIGGER full")
        log.add(answer(2))
        assert [a.time_s for track in log.tracks(HOUR_S) for a in track.answers] == [1.0]


def test_what_was_said_goes_with_its_event() -> None:
    with EventStore() as store:
        store.add(stored(1))
        store.judge(stored(1).id, Feedback("down", "clap", NOON))
        assert store.count(EventQuery(verdict="down")) == 1
        store._remove(stored(1).id)
        assert store.feedback(stored(1).id) is None


def test_the_sink_keeps_decided_answers_once() -> None:
    with EventStore() as store:
        sink = open_logits("1", SinkContext(live=True, store=store))
        assert not sink.write(says("wave", 1.0), "porch")
        decided = started("wave", 2.0)
        assert sink.write(decided, "porch")
        assert not sink.write(decided, "porch")  # it comes again with the end of its action
        sink.close()
        [track] = store.logits.tracks(HOUR_S)
        np.testing.assert_array_equal(track.answers[0].logits, decided.logits)
        assert track.answers[0].time_s == 2.0


@pytest.mark.parametrize("hours", ["0", "-1", "x", "nan", "1000"])
def test_hours_are_checked(hours: str) -> None:
    with EventStore() as store, pytest.raises(ValueError, match="logits: "):
        open_logits(hours, SinkContext(live=True, store=store))
