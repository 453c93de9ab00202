"""Events last: through kills, full disks and strange files, and each destination is told once."""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import pytest

from edge_tsm.datatypes import Event, Media, StateChange
from edge_tsm.errors import SinkError
from edge_tsm.events import EventStore, Limits, Message
from edge_tsm.events.record import event_schema, state_schema
from edge_tsm.events.store import MOST_WAITING, RETRY_S, DeliveryCounts, part_of
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import NOON, stored
from tests.helpers.disks import fill, small_disk

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "events.db" if request.param == "file" else None) as store:
        yield store


def told(store: EventStore, destination: str) -> list[tuple[str, str]]:
    """Take all messages of a destination: number of the event and kind."""
    taken = []
    while (message := store.next(destination)) is not None:
        store.settle(destination, message)
        taken.append((message.event_id[:8].lstrip("0"), message.kind))
    return taken


def test_a_start_and_its_end_are_one_event_and_two_messages(store: EventStore) -> None:
    store.register("hook")
    assert store.add(stored(1))
    assert [event.kind for event in store.events()] == ["start"]
    for _ in range(2):  # sinks may both bring it
        store.add(stored(1, "end"))
        store.add(stored(1))
    assert store.events() == [stored(1, "end")]
    assert told(store, "hook") == [("1", "start"), ("1", "end")]
    assert store.next("hook") is None


def test_what_is_told_is_what_the_schema_says(store: EventStore) -> None:
    store.register("hook")
    for event in (stored(1), stored(1, "end")):
        store.add(event)
        message = store.next("hook")
        assert message is not None
        store.settle("hook", message)
        record = json.loads(message.body)
        jsonschema.validate(record, event_schema())
        assert message.key == f"{event.id}:{event.kind}"
        assert record == event.to_json()
    assert (record["start_utc"], record["end_utc"]) == (
        "2026-11-24T12:00:01.000+00:00",
        "2026-11-24T12:00:01.500+00:00",
    )
    assert record["duration_s"] == 0.5


def test_changes_of_state_are_told_too(store: EventStore) -> None:
    store.register("hook")
    lost = StateChange("porch", "lost", "live", 41.5, NOON, "no route to host")
    for change in (lost, lost, replace(lost, state="live", before="lost", time_s=50.0)):
        assert store.tell(change)
    bodies = []
    while (message := store.next("hook")) is not None:
        store.settle("hook", message)
        bodies.append(json.loads(message.body))
        jsonschema.validate(bodies[-1], state_schema())
    assert [(body["kind"], body["state"]) for body in bodies] == [
        ("state", "lost"),
        ("state", "live"),
    ]
    assert store.events() == []


def test_old_changes_of_state_go() -> None:
    with EventStore(limits=Limits(most_events=2)) as store:
        store.register("hook")
        for number in range(5):
            store.tell(StateChange("porch", "lost", "live", float(number), NOON))
        assert store.counts("hook").pending == 2
        assert store.counts("hook").lost == 3


def test_a_file_is_known_once_it_is_there_and_only_then(store: EventStore, tmp_path: Path) -> None:
    store.register("hook")
    media = Media("snapshot", str(tmp_path / "x.jpg"))
    with store.adding(stored(1), media):
        assert store.events()[0].media == ()
        Path(media.path).touch()
    assert store.events()[0].media == (media,)
    store.add(stored(1, "end"))
    bodies = []
    while (message := store.next("hook")) is not None:
        store.settle("hook", message)
        bodies.append(json.loads(message.body))
    assert [(body["kind"], len(body["media"])) for body in bodies] == [
        ("start", 0),
        ("snapshot", 1),
        ("end", 1),
    ]
    assert bodies[-1]["media"] == [{"kind": "snapshot", "file": "x.jpg"}]


def test_a_file_that_cannot_be_written_leaves_nothing(store: EventStore, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    with pytest.raises(ZeroDivisionError), store.adding(stored(1), Media("clip", str(path))):
        part_of(path).touch()
        raise ZeroDivisionError
    assert not path.exists()
    assert not part_of(path).exists()
    assert store.events()[0].media == ()


def test_destinations_go_on_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with EventStore(path) as store:
        store.add(stored(1, "end"))
        store.register("hook")
        store.add(stored(2, "end"))
        store.add(stored(3, "end"))
        message = store.next("hook")
        assert message is not None
        store.settle("hook", message)
    with EventStore(path) as store:
        counts = store.register("hook")
        assert (counts.delivered, counts.pending) == (1, 1)
        store.register("broker")
        store.add(stored(4, "end"))
        assert told(store, "hook") == [("3", "end"), ("4", "end")]
        assert told(store, "broker") == [("4", "end")]


def test_what_is_refused_is_parked_and_what_follows_goes_on(store: EventStore) -> None:
    store.register("hook")
    store.add(stored(1))
    store.add(stored(2))
    message = store.next("hook")
    assert message is not None
    store.settle("hook", message, refused="the server says 400")
    assert told(store, "hook") == [("2", "start")]
    assert store.counts("hook").parked == 1
    assert store.counts("hook").delivered == 1


def test_what_was_refused_is_tried_once_more_after_a_restart(tmp_path: Path) -> None:
    """A wrong token refuses everything: whoever mends it wants the events."""
    with EventStore(tmp_path / "events.db") as store:
        store.register("hook")
        for number in (1, 2, 3):
            store.add(stored(number, "end"))
            message = store.next("hook")
            assert message is not None
            store.settle("hook", message, refused="the server says 401")
        assert store.counts("hook") == DeliveryCounts(delivered=0, pending=0, parked=3, lost=0)
    with EventStore(tmp_path / "events.db") as store:
        counts = store.register("hook")
        assert counts == DeliveryCounts(delivered=0, pending=3, parked=0, lost=0)
        store.add(stored(4, "end"))
        message = store.next("hook")
        assert message is not None
        store.settle("hook", message, refused="the server says 400")
        assert [number for number, _ in told(store, "hook")] == ["2", "3", "4"]
        assert store.counts("hook") == DeliveryCounts(delivered=3, pending=0, parked=1, lost=0)
    with EventStore(tmp_path / "events.db") as store:
        assert store.register("hook").pending == 1


def test_the_oldest_go_with_their_files_and_are_counted_where_untold(
    store: EventStore, tmp_path: Path
) -> None:
    store._limits = Limits(most_events=2)
    store.register("hook")
    for number in range(1, 6):
        path = tmp_path / f"{number}.jpg"
        with store.adding(stored(number), Media("snapshot", str(path))):
            path.touch()
    assert [event.start_s for event in store.events()] == [5, 4]
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == ["4.jpg", "5.jpg"]
    assert store.counts("hook").lost == 3 * 2
    assert [number for number, _ in told(store, "hook")] == ["4", "4", "5", "5"]


def test_what_is_too_old_goes() -> None:
    with EventStore(limits=Limits(most_age_s=3600)) as store:
        now = datetime.now(timezone.utc)
        for number, hours in ((1, 2.0), (2, 0.5)):
            store.add(replace(stored(number, "end"), decided_utc=now - timedelta(hours=hours)))
        assert [event.start_s for event in store.events()] == [2]


def test_a_file_that_somebody_removes_is_forgotten(tmp_path: Path) -> None:
    path, mounted = tmp_path / "x.jpg", tmp_path / "usb"
    mounted.mkdir()
    with EventStore(tmp_path / "events.db") as store:
        for at in (path, mounted / "y.jpg"):
            with store.adding(stored(1), Media("clip", str(at))):
                at.touch()
        with store.removing(path):
            path.unlink()
        assert [media.path for media in store.events()[0].media] == [str(mounted / "y.jpg")]
    (mounted / "y.jpg").unlink()
    mounted.rmdir()
    with EventStore(tmp_path / "events.db") as store:
        assert len(store.events()[0].media) == 1  # the disk may be mounted later
    mounted.mkdir()
    with EventStore(tmp_path / "events.db") as store:
        assert store.events()[0].media == ()


WRITER = """
import sys
from pathlib import Path
from edge_tsm.datatypes import Media
from edge_tsm.events import EventStore
from edge_tsm.events.store import Limits, part_of
from tests.helpers.answers import stored

folder, first = Path(sys.argv[1]), int(sys.argv[2])
with EventStore(folder / "events.db", limits=Limits(most_events=20)) as store:
    store.register("hook")
    for number in range(first, first + 10_000):
        store.add(stored(number))
        print(number, flush=True)
        path = folder / f"{number}.jpg"
        with store.adding(stored(number), Media("snapshot", str(path))):
            part_of(path).write_bytes(bytes(1000))
            part_of(path).rename(path)
        store.add(stored(number, "end"))
        if number % 3 == 0 and (message := store.next("hook")):
            store.settle("hook", message)
"""


def test_a_killed_process_leaves_no_file_without_a_row_and_no_row_without_a_file(
    tmp_path: Path,
) -> None:
    chance, number = random.Random(14), 1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for _ in range(chance.randrange(2, 40)):
                line = process.stdout.readline()
            process.kill()
            number = int((line + process.stdout.read()).split("\n")[-2])
        with EventStore(tmp_path / "events.db") as store:
            newest = store.events()[0]
            assert newest.start_s in (number, number + 1)  # what was said to be kept, or one more
            assert newest.kind == "end"
            rows = {media.path for event in store.events(most=99) for media in event.media}
            files = {str(path) for path in tmp_path.glob("*.jpg")} | {
                str(path) for path in tmp_path.glob(".*.jpg")
            }
            assert rows == files
        number += 1


def test_an_action_that_was_on_when_the_process_was_killed_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    code = f"""
import os
from pathlib import Path
from edge_tsm.events import EventStore
from tests.helpers.answers import stored
store = EventStore(Path({str(path)!r}))
store.register("hook")
store.add(stored(1))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with EventStore(path) as store:
        assert told(store, "hook") == [("1", "start"), ("1", "end")]
        [event] = store.events()
        assert (event.kind, event.end_utc, event.duration_s) == (
            "end",
            NOON + timedelta(seconds=1),
            0,
        )


def test_a_full_disk_keeps_events_in_memory_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    with small_disk(tmp_path / "disk") as disk, EventStore(disk / "e.db", clock=clock) as store:
        store.register("hook")
        filler = fill(disk)
        kept = 0
        while store.add(stored(kept)):  # some fit into pages that the log holds already
            kept += 1
        for number in range(kept + 1, kept + 30):
            assert not store.add(stored(number))
        told_meanwhile = told(store, "hook")
        assert len(told_meanwhile) == kept + 30
        assert caplog.text.count("events are kept in memory until it can") == 1
        filler.unlink()
        with (changed := clock.condition()):
            changed.wait(RETRY_S + 1)
        assert caplog.text.count("is written again, 0 messages lost") == 1
        assert store.add(stored(500))
        assert told(store, "hook") == [("500", "start")]
        store.close()
        with EventStore(disk / "e.db") as again:
            assert len(again.events(most=999)) == kept + 31
            assert again.register("hook").delivered == kept + 31


def test_memory_is_bounded_on_a_full_disk_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        EventStore(disk / "e.db", clock=VirtualClock()) as store,
    ):
        store.register("hook")
        fill(disk)
        for number in range(MOST_WAITING + 500):
            store.add(stored(number))
        counts = store.counts("hook")
        assert counts.lost + counts.pending == MOST_WAITING + 500
        assert 0 < counts.lost <= 500


def test_a_card_that_fails_while_it_is_used_does_not_end_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "e.db"
    with EventStore(path, clock=VirtualClock()) as store:
        store.register("hook")
        store.add(stored(1))
        for file in tmp_path.glob("e.db*"):
            file.write_bytes(bytes(8192))
        assert not store.add(stored(2))
        assert not store.add(stored(2, "end"))
        assert ("2", "end") in told(store, "hook")
        with pytest.raises(SinkError, match="cannot be used"):
            store.events()
    assert caplog.text.count("events are kept in memory until it can") == 1


def test_an_event_that_no_row_can_be_is_left_out_and_the_next_one_kept(
    store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.register("hook")
    store.add(replace(stored(1), score=float("nan")))
    assert store.add(stored(2))
    assert told(store, "hook") == [("2", "start")]
    assert store.counts("hook").lost == 1
    assert caplog.text.count("an event cannot be kept") == 1


def test_the_file_is_for_its_owner_and_one_process_only(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    before = os.umask(0)
    try:
        with EventStore(path) as store:
            store.add(stored(1))
            modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
            assert modes == {0o600}
            with pytest.raises(SinkError, match=r"events\.db is in use by another edge-tsm"):
                EventStore(path)
            with sqlite3.connect(path) as other:  # anyone may read it meanwhile
                assert other.execute("SELECT label FROM events").fetchall() == [("wave",)]
            other.close()
    finally:
        os.umask(before)
    EventStore(path).close()


def other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE birds (name TEXT)")
    connection.close()


def newer(path: Path) -> None:
    EventStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_database, "is a database of something else"),
        (newer, r"is of a newer edge-tsm \(schema 9; this one knows 2\)"),
        (lambda path: path.write_bytes(b"not a database, but long enough" * 99), "not a database"),
        (lambda path: path.mkdir(), "cannot be used as an event file"),
    ],
)
def test_what_is_no_event_file_is_refused_and_left_alone(
    make: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "events.db"
    make(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(SinkError, match=message):
        EventStore(path)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be used as an event file"):
        EventStore(tmp_path / "nowhere" / "events.db")


def test_an_event_without_an_id_and_a_closed_store_are_refused(store: EventStore) -> None:
    with pytest.raises(ValueError, match="without an id"):
        store.add(Event("start", 0, "wave", 0.0, 0.0, 0.9))
    store.register("hook")
    store.add(stored(1))
    store.close()
    store.close()
    with pytest.raises(SinkError, match="is closed"):
        store.add(stored(2))
    assert store.next("hook") is None
    store.settle("hook", Message(1, "x", "start", "{}"))


def test_waiting_ends_with_a_change(store: EventStore) -> None:
    version = store.version
    store.add(stored(1))
    store.wait(version, 50.0)
    assert store.version > version


@pytest.mark.skipif(not logging.getLogger("edge_tsm").propagate, reason="logging is set up")
def test_a_store_that_works_is_silent(store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    store.add(stored(1))
    store.close()
    assert caplog.text == ""
