"""A sink that is slow, fails, blocks or raises never stalls the others, nor the answers."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest

from edge_tsm.datatypes import Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.dispatcher import ANSWERS, FRAMES, Dispatcher, Route
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import says, started
from tests.helpers.fakes import frames_at

pytestmark = pytest.mark.timeout(20)


class Collector:
    """Keeps what it gets; fails at the given calls; waits at a gate if it has one."""

    def __init__(self, *errors: Exception | None, gate: threading.Event | None = None) -> None:
        self.times_s: list[float] = []
        self.closed = self.canceled = False
        self.busy = threading.Event()
        self._errors, self._gate = list(errors), gate

    def write(self, prediction: Prediction, source: str) -> None:
        self.busy.set()
        if self._gate:
            self._gate.wait()
        error = self._errors.pop(0) if self._errors else None
        if error:
            raise error
        assert prediction.window
        self.times_s.append(prediction.window.end_s)

    def close(self) -> None:
        self.closed = True

    def cancel(self) -> None:
        self.canceled = True
        if self._gate:
            self._gate.set()


class Film(Collector):
    """A collector of pictures too."""

    def frame(self, frame, source: str) -> None:  # type: ignore[no-untyped-def]
        self.busy.set()
        if self._gate:
            self._gate.wait()
        self.times_s.append(frame.time_s)


def test_every_sink_gets_every_answer_in_order() -> None:
    first, second = Collector(), Collector()
    with Dispatcher([Route("a", first), Route("b", second)]) as dispatcher:
        for t in range(20):
            dispatcher.write(says("wave", t), "cam")
    assert first.times_s == second.times_s == list(range(20))
    assert first.closed
    assert dispatcher.counts()["a"].delivered == 20


def test_a_blocked_sink_loses_the_oldest_and_nobody_waits() -> None:
    gate = threading.Event()
    blocked, free = Collector(gate=gate), Collector()
    with Dispatcher([Route("blocked", blocked), Route("free", free)]) as dispatcher:
        dispatcher.write(says("wave", 0), "cam")
        blocked.busy.wait()
        for t in range(1, ANSWERS + 11):
            dispatcher.write(says("wave", t), "cam")
        assert dispatcher.counts()["blocked"].dropped == 10
        gate.set()
    assert free.times_s[-1] == ANSWERS + 10
    assert blocked.times_s == [0, *range(11, ANSWERS + 11)]


def test_events_are_dropped_last_and_pictures_first() -> None:
    gate = threading.Event()
    film = Film(gate=gate)
    with Dispatcher([Route("film", film)]) as dispatcher:
        dispatcher.write(says("wave", 0), "cam")
        film.busy.wait()
        dispatcher.write(started(), "cam")
        dispatcher.write(says("wave", 2), "cam")
        for frame in frames_at([10 + i for i in range(FRAMES + 3)], (2, 2)):
            dispatcher.frame(frame, "cam")
        gate.set()
    assert film.times_s == [0, 1, 2, *range(15, FRAMES + 13)]


def test_pictures_go_only_to_sinks_that_want_them() -> None:
    film, plain = Film(), Collector()
    with Dispatcher([Route("film", film), Route("plain", plain)]) as dispatcher:
        dispatcher.frame(frames_at([3.0], (2, 2))[0], "cam")
    assert (film.times_s, plain.times_s) == ([3.0], [])


def test_a_failing_sink_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Collector(SinkError("no route"), OSError("still none"), SinkError("no"), None, None)
    with caplog.at_level(logging.WARNING), Dispatcher([Route("hook", sink)]) as dispatcher:
        for t in range(5):
            dispatcher.write(says("wave", t), "cam")
    assert sink.times_s == [3, 4]
    counts = dispatcher.counts()["hook"]
    assert (counts.delivered, counts.dropped, counts.failed) == (2, 0, 3)
    assert [r.getMessage() for r in caplog.records] == [
        "hook: no route",
        "hook: delivers again, after 3 failures",
    ]


@pytest.mark.parametrize(
    ("error", "essential"), [(BrokenPipeError(), True), (ZeroDivisionError(), False)]
)
def test_what_ends_a_run_reaches_its_owner(error: Exception, essential: bool) -> None:
    sink, other = Collector(error), Collector()
    dispatcher = Dispatcher([Route("out", sink, essential=essential), Route("other", other)])
    dispatcher.write(says("wave", 0), "cam")
    with pytest.raises(type(error)):
        dispatcher.close()
    assert sink.closed
    assert other.times_s == [0]
    dispatcher.close()  # raised once


def test_a_callback_that_raises_ends_the_run_at_the_next_answer() -> None:
    def broken(*_: object) -> None:
        raise KeyError("mine")

    dispatcher = Dispatcher([Route("callback", Callback(broken))])
    with pytest.raises(KeyError, match="mine"):
        while True:
            dispatcher.write(says("wave", 0), "cam")
    dispatcher.close()


def test_closing_leaves_a_hanging_sink_behind(caplog: pytest.LogCaptureFixture) -> None:
    never = threading.Event()

    class Hanging(Collector):
        def cancel(self) -> None:
            """Deaf."""

    sink, other = Hanging(gate=never), Collector()
    dispatcher = Dispatcher([Route("deaf", sink), Route("other", other)])
    for t in range(3):
        dispatcher.write(says("wave", t), "cam")
    sink.busy.wait()
    dispatcher.close(timeout_s=0.01)
    assert other.times_s == [0, 1, 2]
    assert dispatcher.counts()["deaf"].dropped == 2
    assert "deaf: does not end" in caplog.text
    never.set()


def test_closing_cancels_a_sink_that_waits() -> None:
    sink = Collector(gate=threading.Event())
    dispatcher = Dispatcher([Route("hook", sink)])
    dispatcher.write(says("wave", 0), "cam")
    sink.busy.wait()
    dispatcher.close(timeout_s=0.01)
    assert sink.canceled
    assert sink.closed


def test_a_lossless_dispatcher_waits_for_room() -> None:
    gate, sink = threading.Event(), Collector()
    slow = Collector(gate=gate)
    with Dispatcher([Route("slow", slow), Route("fast", sink)], lossless=True) as dispatcher:
        threading.Thread(target=gate.set).start()
        for t in range(3 * ANSWERS):
            dispatcher.write(says("wave", t), "file")
    assert slow.times_s == list(range(3 * ANSWERS))
    assert dispatcher.counts()["slow"].dropped == 0


def test_a_lossless_route_is_waited_for_in_a_live_run() -> None:
    gate, film = threading.Event(), Film()
    film._gate = gate
    with Dispatcher([Route("recorder", film, lossless=True)]) as dispatcher:
        threading.Thread(target=gate.set).start()
        for frame in frames_at(range(3 * FRAMES), (2, 2)):
            dispatcher.frame(frame, "cam")
    assert film.times_s == list(range(3 * FRAMES))
    assert dispatcher.counts()["recorder"].dropped == 0


def test_sinks_that_draw_lines_make_room_for_a_message() -> None:
    class Drawing(Collector):
        lifted = 0

        def lift(self) -> None:
            self.lifted += 1

    drawing = Drawing()
    with Dispatcher([Route("plain", Collector()), Route("drawing", drawing)]) as dispatcher:
        dispatcher.lift()
    assert drawing.lifted == 1


def test_an_answer_goes_under_its_own_source_unless_another_is_named() -> None:
    seen: list[str] = []
    answer = replace(says("wave", 0), source="cam")
    with Dispatcher([Route("names", Callback(lambda _, source: seen.append(source)))]) as d:
        d.write(answer)
        d.write(answer, "door")
        d.write(says("wave", 0))
    assert seen == ["cam", "door", ""]


def test_a_failed_close_of_an_essential_sink_is_an_error() -> None:
    class Full(Collector):
        def close(self) -> None:
            raise SinkError("is the disk full?")

    with pytest.raises(SinkError, match="disk full"), Dispatcher([Route("v", Full(), True)]):
        pass
    with Dispatcher([Route("v", Full())]) as dispatcher:
        pass
    assert dispatcher.counts()["v"].failed == 1


def test_an_error_of_the_run_is_not_hidden_by_that_of_a_sink() -> None:
    sink = Collector(BrokenPipeError())
    with pytest.raises(RuntimeError, match="camera"), Dispatcher([Route("o", sink, True)]) as d:
        d.write(says("wave", 0), "cam")
        raise RuntimeError("camera")


def test_under_a_virtual_clock_nothing_waits() -> None:
    clock, sink = VirtualClock(), Collector()
    with Dispatcher([Route("a", sink)], clock=clock) as dispatcher:
        dispatcher.write(says("wave", 1), "cam")
    assert sink.times_s == [1]
    assert clock.now() == 0
