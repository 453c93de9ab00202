"""What sinks hold does not grow with the events they have seen.

Each is measured in a process of its own: other tests leave caches and garbage that come and go.
"""

from __future__ import annotations

import gc
import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_tsm.datatypes import Event
from edge_tsm.events import EventStore, Limits, Message
from edge_tsm.events.database import CACHE_KIB
from edge_tsm.sinks.base import Sink
from edge_tsm.sinks.jsonlines import JsonLines
from edge_tsm.sinks.keeper import EventKeeper
from edge_tsm.sinks.outbox import Outbox
from edge_tsm.sinks.retention import RetainedFolder
from edge_tsm.sinks.snapshots import EventClips, Snapshots
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import answer_with as answer
from tests.helpers.answers import stored
from tests.helpers.fakes import frames_at
from tests.helpers.memory import can_count, in_use_kib

pytestmark = pytest.mark.timeout(60)

EVENTS = 150
STEPS_S = (-0.1, 0.0, 0.1, 0.2)  # of the pictures around a start


class Taking:
    """A destination that takes everything."""

    def send(self, message: Message) -> None:
        """Take it."""

    def cancel(self) -> None:
        """A send takes no time."""


class Nowhere(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        """Say that it was written."""
        return len(text)


def outbox(store: EventStore, folder: Path, clock: VirtualClock) -> Sink:
    return Outbox(Taking(), store, name="toy", clock=clock)


def keeper(store: EventStore, folder: Path, clock: VirtualClock) -> Sink:
    return EventKeeper(store)


def lines(store: EventStore, folder: Path, clock: VirtualClock) -> Sink:
    return JsonLines(Nowhere())


def snapshots(store: EventStore, folder: Path, clock: VirtualClock) -> Sink:
    return Snapshots(RetainedFolder(folder, ".jpg", store=store, most_files=5))


def clips(store: EventStore, folder: Path, clock: VirtualClock) -> Sink:
    files = RetainedFolder(folder, ".avi", store=store, most_files=5)
    return EventClips(files, before_s=0.1, after_s=0.1)


def live_through(sink: Sink, numbers: range) -> None:
    """Give a sink the pictures and the answers of these events."""
    for number in numbers:
        for frame in frames_at([number + step_s for step_s in STEPS_S], (48, 64)):
            if hasattr(sink, "frame"):
                sink.frame(frame, "porch")
            if frame.time_s == number:
                sink.write(answer(stored(number)), "porch")
        sink.write(answer(stored(number, "end")), "porch")


def held(sink: Sink, clock: VirtualClock) -> int:
    """Blocks of memory that Python objects take, when the sink has nothing more to do."""
    with (changed := clock.condition()):
        while isinstance(sink, Outbox) and sink.counts().pending:
            changed.wait(1.0)
    gc.collect()
    return sys.getallocatedblocks()


SINKS: dict[str, Callable[[EventStore, Path, VirtualClock], Sink]] = {
    "outbox": outbox,
    "keeper": keeper,
    "lines": lines,
    "snapshots": snapshots,
    "clips": clips,
}


def measured(what: str, folder: Path) -> int:
    """Return what this module, run as a program, measures."""
    command = [sys.executable, "-m", __name__, what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_holds_no_more_after_many_events_than_after_few(name: str, tmp_path: Path) -> None:
    # The count goes up and down by 200; an event that is kept takes more than ten blocks.
    assert measured(name, tmp_path) < 3 * EVENTS


def more_blocks(name: str, folder: Path) -> int:
    """Return how many more blocks a sink holds after many events than after few."""
    clock = VirtualClock()
    with EventStore(limits=Limits(most_events=10), clock=clock) as store:
        sink = SINKS[name](store, folder, clock)
        live_through(sink, range(20))
        few = held(sink, clock)
        live_through(sink, range(20, 20 + EVENTS))
        many = held(sink, clock)
        sink.close()
    return many - few


@pytest.mark.skipif(not can_count(), reason="needs glibc 2.33")
def test_what_the_event_file_holds_in_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """SQLite's own cache grows by 0.7 KiB an event, up to 2 MiB."""
    assert measured("file", tmp_path) < 2 * CACHE_KIB
    assert (tmp_path / "events.db").stat().st_size > 4 * CACHE_KIB * 1024


def more_kib(folder: Path) -> int:
    """Return how much more memory an event file takes after many long events than after one."""

    def long(number: int) -> Event:
        return replace(stored(number), label="x" * 8000)

    with EventStore(folder / "events.db") as store:
        store.add(long(0))
        before_kib = in_use_kib()
        for number in range(1, 150):
            store.add(long(number))
        return in_use_kib() - before_kib


if __name__ == "__main__":
    place = Path(sys.argv[2])
    print(more_kib(place) if sys.argv[1] == "file" else more_blocks(sys.argv[1], place))  # noqa: T201
