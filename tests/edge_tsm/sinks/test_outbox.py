"""Events reach a real server on loopback, whatever happens to it, to the network and to us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import StateChange
from edge_tsm.events import EventStore, Limits, Message
from edge_tsm.sinks.base import RouteCounts
from edge_tsm.sinks.dispatcher import Dispatcher, Route
from edge_tsm.sinks.keeper import EventKeeper
from edge_tsm.sinks.outbox import Outbox, Refused, Unavailable
from edge_tsm.sinks.retention import RetainedFolder
from edge_tsm.sinks.snapshots import EventClips
from edge_tsm.sinks.webhook import Webhook
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import LABELS, NOON, says, stored
from tests.helpers.answers import answer_with as answer
from tests.helpers.fakes import frames_at
from tests.helpers.http_servers import Server, free_port, serving

pytestmark = pytest.mark.timeout(60)


def outbox(url: str, store: EventStore, clock: VirtualClock) -> Outbox:
    return Outbox(Webhook(url), store, name="webhook", clock=clock, seed=1)


def bodies(server: Server) -> list[tuple[float, str]]:
    records = [json.loads(body) for _, _, body in server.posts]
    return [(record["start_s"], record["kind"]) for record in records]


def drained(sink: Outbox, clock: VirtualClock) -> None:
    """Let time pass until everything was told."""
    with (changed := clock.condition()):
        while sink.counts().pending:
            changed.wait(1.0)


def test_events_are_told_in_order_and_counted(tmp_path: Path) -> None:
    clock = VirtualClock()
    with serving() as server, EventStore(tmp_path / "e.db", clock=clock) as store:
        sink = outbox(server.url, store, clock)
        sink.write(says("wave", 0.5), "cam")
        sink.write(answer(stored(1)), "cam")
        sink.write(answer(stored(1, "end"), stored(2)), "cam")
        sink.close()
        assert bodies(server) == [(1, "start"), (1, "end"), (2, "start")]
        assert sink.counts() == RouteCounts(delivered=3, dropped=0, failed=0, pending=0)
        assert clock.now() == 0


def test_an_outage_loses_nothing_and_times_are_those_of_the_decision(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Forty virtual seconds: times used to be taken at delivery, 37 s late."""
    clock, port = VirtualClock(epoch=NOON), free_port()
    tracker = ActionTracker(Rules(background=("nothing",)), LABELS, clock=clock)
    with EventStore(clock=clock) as store:
        sink = outbox(f"http://127.0.0.1:{port}", store, clock)
        with (changed := clock.condition()):
            for second in range(40):
                label = "wave" if second % 10 < 5 else "nothing"
                sink.write(tracker.update(says(label, clock.now())), "cam")
                changed.wait(1.0)
        assert sink.counts() == RouteCounts(0, 0, 0, pending=8)
        with serving(port=port) as server:
            drained(sink, clock)
            sink.close()
        records = [json.loads(body) for _, _, body in server.posts]
    decided = [NOON + timedelta(seconds=second) for second in range(0, 40, 5)]
    assert [record["decided_utc"] for record in records] == [
        time.isoformat(timespec="milliseconds") for time in decided
    ]
    assert caplog.text.count("Connection refused; events are kept until it takes them") == 1
    assert caplog.text.count("delivers again, after") == 1


def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    clock = VirtualClock()
    with serving(503) as server, EventStore(clock=clock) as store:
        server.retry_after = "3600"
        sink = outbox(server.url, store, clock)
        sink.write(answer(stored(1)), "cam")
        with (changed := clock.condition()):
            changed.wait(3599.0)
        assert len(server.posts) == 1
        drained(sink, clock)
        sink.close()
        assert len(server.posts) == 2
        assert len({headers["Idempotency-Key"] for _, headers, _ in server.posts}) == 1


def test_pauses_grow_without_an_end_to_the_attempts() -> None:
    clock = VirtualClock()
    with serving(*[500] * 40) as server, EventStore(clock=clock) as store:
        sink = outbox(server.url, store, clock)
        sink.write(answer(stored(1)), "cam")
        drained(sink, clock)
        sink.close()
        assert len(server.posts) == 41
        assert 34 * 15 < clock.now() < 41 * 30
        assert sink.counts().delivered == 1


def test_a_server_that_takes_every_second_attempt_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    with serving(*[503, 204] * 5) as server, EventStore(clock=clock) as store:
        sink = outbox(server.url, store, clock)
        for number in range(5):
            sink.write(answer(stored(number)), "cam")
        drained(sink, clock)
        sink.close()
        assert len(server.posts) == 10
    assert caplog.text == ""


def test_a_refused_event_is_set_aside_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    with serving(400, 400, 204, 404) as server, EventStore(clock=clock) as store:
        sink = outbox(server.url, store, clock)
        for number in range(1, 6):
            sink.write(answer(stored(number)), "cam")
        drained(sink, clock)
        sink.close()
        assert [start_s for start_s, _ in bodies(server)] == [1, 2, 3, 4, 5]
        assert sink.counts() == RouteCounts(delivered=2, dropped=0, failed=3)
    assert caplog.text.count("is set aside") == 2  # once per series
    assert "delivers again" not in caplog.text


def test_what_was_refused_is_tried_again_every_hour(tmp_path: Path) -> None:
    """A wrong token used to keep events aside until the next start."""
    clock = VirtualClock()
    with serving(403, 403, 403, 400) as server, EventStore(tmp_path / "e", clock=clock) as store:
        sink = outbox(server.url, store, clock)
        for number in range(1, 4):
            sink.write(answer(stored(number)), "cam")
        drained(sink, clock)
        with (changed := clock.condition()):
            changed.wait(3590.0)
            assert sink.counts() == RouteCounts(delivered=0, dropped=0, failed=3)
            changed.wait(20.0)
            assert sink.counts() == RouteCounts(delivered=2, dropped=0, failed=1)
            changed.wait(3600.0)
        sink.close()
        assert sink.counts() == RouteCounts(delivered=3, dropped=0, failed=0)
        assert [start_s for start_s, _ in bodies(server)] == [1, 2, 3, 1, 2, 3, 1]


def test_what_falls_to_a_limit_before_it_was_told_is_counted_as_lost() -> None:
    clock, port = VirtualClock(), free_port()
    with EventStore(limits=Limits(most_events=3), clock=clock) as store:
        sink = outbox(f"http://127.0.0.1:{port}", store, clock)
        for number in range(10):
            sink.write(answer(stored(number)), "cam")
        assert sink.counts().pending == 3
        with serving(port=port) as server:
            drained(sink, clock)
            sink.close()
        told = [start_s for start_s, _ in bodies(server)]
        assert told[-3:] == [7, 8, 9]  # the first may have been on its way already
        assert sink.counts() == RouteCounts(len(told), dropped=10 - len(told), failed=0)


def test_answers_without_events_are_no_loss_of_a_sink_of_events() -> None:
    """'webhook lost 99' used to count answers that nobody wanted to deliver."""
    clock = VirtualClock()
    with EventStore(clock=clock) as store:
        sink = outbox(f"http://127.0.0.1:{free_port()}", store, clock)
        dispatcher = Dispatcher([Route("webhook", sink, events_only=True)], clock=clock)
        for second in range(500):
            dispatcher.write(says("wave", float(second)), "cam")
        dispatcher.write(answer(stored(1)), "cam")
        dispatcher.close()
        assert dispatcher.counts()["webhook"] == RouteCounts(0, 0, 0, pending=1)


class ToyBroker:
    """A destination that is away at first, and never takes what is about class 1."""

    def __init__(self) -> None:
        self.away, self.topics = 3, list[str]()

    def send(self, message: Message) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("toy: away", retry_after_s=60.0)
        record = json.loads(message.body)
        if record["index"] == 1:
            raise Refused("toy: no such topic")
        self.topics.append(f"{record['source']}/{record['label']}/{message.kind}")

    def cancel(self) -> None:
        """A send takes no time."""


def test_a_toy_broker_needs_no_more_than_send_and_cancel() -> None:
    clock, broker = VirtualClock(), ToyBroker()
    with EventStore(clock=clock) as store:
        sink = Outbox(broker, store, name="toy", clock=clock)
        sink.write(answer(stored(1), stored(2, label="clap"), stored(3)), "cam")
        drained(sink, clock)
        sink.close()
        assert sink.counts() == RouteCounts(delivered=2, dropped=0, failed=1)
    assert broker.topics == ["porch/wave/start"] * 2
    assert clock.now() >= 180


def test_a_fault_in_a_destination_ends_the_run_and_is_not_swallowed() -> None:
    class Broken(ToyBroker):
        def send(self, message: Message) -> None:
            raise KeyError("a bug")

    clock = VirtualClock()
    with EventStore(clock=clock) as store:
        sink = Outbox(Broken(), store, name="toy", clock=clock)
        sink.write(answer(stored(1)), "cam")
        sink.close()
        with pytest.raises(KeyError, match="a bug"):
            sink.write(answer(stored(2)), "cam")


def test_a_lost_camera_is_told_once_to_each_destination() -> None:
    clock = VirtualClock()
    change = StateChange("porch", "lost", "live", 41.5, NOON, "no route to host")
    with serving() as first, serving() as second, EventStore(clock=clock) as store:
        routes = [
            Route(str(n), Outbox(Webhook(server.url), store, name=str(n), clock=clock), last=True)
            for n, server in enumerate((first, second))
        ]
        with Dispatcher([Route("events", EventKeeper(store)), *routes], clock=clock) as dispatcher:
            dispatcher.state(change)
        for server in (first, second):
            [(_, _, body)] = server.posts
            assert json.loads(body)["state"] == "lost"


def test_the_last_clip_is_told_too(tmp_path: Path) -> None:
    """It is written while the run ends."""
    clock = VirtualClock()
    with serving() as server, EventStore(clock=clock) as store:
        clips = EventClips(RetainedFolder(tmp_path, ".avi", store=store))
        hook = outbox(server.url, store, clock)
        routes = [Route("webhook", hook, last=True), Route("clips", clips)]
        with Dispatcher(routes, lossless=True, clock=clock) as dispatcher:
            for frame in frames_at([0.8, 0.9, 1.0, 1.1], (48, 64)):
                dispatcher.frame(frame, "cam")
            dispatcher.write(answer(stored(1)), "cam")
        assert [kind for _, kind in bodies(server)] == ["start", "clip"]


def test_the_end_of_a_run_waits_for_a_slow_server_but_not_for_one_that_hangs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hanging, release = threading.Event(), threading.Event()
    with serving() as server, EventStore() as store:
        server.before_answer = lambda: (hanging.set(), release.wait(20))
        sink = Outbox(Webhook(server.url), store, name="webhook")
        dispatcher = Dispatcher([Route("webhook", sink, events_only=True)])
        dispatcher.write(answer(stored(1)), "cam")
        assert hanging.wait(10)
        dispatcher.close(timeout_s=0.2)
        assert dispatcher.counts()["webhook"].pending == 1
        release.set()
    assert "1 messages were not taken yet; they are lost: no event file" in caplog.text
    assert "does not end" not in caplog.text


KILLED = """
import sys
from pathlib import Path
from edge_tsm.events import EventStore
from edge_tsm.sinks.outbox import Outbox
from edge_tsm.sinks.webhook import Webhook
from tests.helpers.answers import answer_with as answer
from tests.helpers.answers import stored

path, url, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sink = Outbox(Webhook(url), EventStore(path), name="webhook")
for number in range(first, first + 1000):
    sink.write(answer(stored(number, "end")), "cam")
    print(number, flush=True)
sink.close()
"""


def test_kill_minus_nine_between_outages_loses_no_event(tmp_path: Path) -> None:
    """The server is away, the process is killed, the server comes, the process is killed again."""
    path, port, number = tmp_path / "e.db", free_port(), 0
    seen = set[float]()
    for is_up in (False, True, False):
        command = [sys.executable, "-c", KILLED, str(path), f"http://127.0.0.1:{port}"]
        with subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            if is_up:
                with serving(port=port) as server:
                    lines = [child.stdout.readline() for _ in range(40)]
                    os.kill(child.pid, signal.SIGKILL)
                    lines += child.stdout.read().splitlines()
                seen |= {start_s for start_s, _ in bodies(server)}
            else:
                lines = [child.stdout.readline() for _ in range(40)]
                os.kill(child.pid, signal.SIGKILL)
                lines += child.stdout.read().splitlines()
        number = int(lines[-1]) + 1
    clock = VirtualClock()
    with serving(port=port) as server, EventStore(path, clock=clock) as store:
        sink = outbox(server.url, store, clock)
        drained(sink, clock)
        sink.close()
    assert seen | {start_s for start_s, _ in bodies(server)} >= {float(n) for n in range(number)}
    assert [start_s for start_s, _ in bodies(server)] == sorted(s for s, _ in bodies(server))
