"""A run's health and figures, and its sources switched off and on; in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import StateChange
from edge_tsm.errors import InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions, Retry
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.monitor import KEPT, Monitor
from edge_tsm.sinks import Dispatcher
from edge_tsm.sinks.run import RunFacts, UnknownRun
from edge_tsm.sources import Fault, FaultySource, Source, TestPattern
from edge_tsm.system.clock import VirtualClock
from edge_tsm.system.machine import process_age_s
from tests.helpers.answers import says
from tests.helpers.fakes import FakeBackend, make_card

pytestmark = pytest.mark.timeout(30)


def camera(clock: VirtualClock, name: str, *faults: Fault, seconds: int = 60) -> SourceInput:
    pattern = TestPattern(size=(64, 48), fps=10, frames=10 * seconds, clock=clock)
    return SourceInput(FaultySource(pattern, faults, clock=clock), name=name)


def watched(
    clock: VirtualClock,
    given: Iterable[SourceInput],
    look: Callable[[Monitor, float], object],
    *,
    until_s: float = 60.0,
) -> Monitor:
    """Run cameras; `look` is called with the monitor after each answer, and the time."""
    given, recognizer = list(given), Recognizer(make_card(), FakeBackend())
    facts = RunFacts.of(recognizer, [one.name or "" for one in given], [Rules()])

    def reopen(name: str) -> Source:
        return camera(clock, name).source

    monitor = Monitor(facts, given, clock, reopen, wall=clock.now)
    options = CaptureOptions(clock=clock, retry=Retry(jitter=0))
    pipeline = Pipeline([*map(monitor.wired, given)], recognizer, capture=options, rules=Rules())
    with Dispatcher([], clock=clock) as dispatcher:
        monitor.watch(pipeline, dispatcher)
        for prediction in pipeline:
            monitor.answered(prediction)
            look(monitor, clock.now())
            if clock.now() >= until_s:
                break
        pipeline.close()
    return monitor


def test_a_run_is_ready_when_every_source_has_answered() -> None:
    clock, seen = VirtualClock(), list[bool]()
    given = [camera(clock, "hall"), camera(clock, "porch")]
    watched(clock, given, lambda m, _: seen.append(m.health().ready), until_s=10)
    assert seen[0] is False  # one of two
    assert all(seen[1:])


def test_a_camera_that_is_lost_is_named_and_one_that_is_back_is_not() -> None:
    clock, seen = VirtualClock(), dict[float, dict[str, str]]()
    given = [camera(clock, "hall"), camera(clock, "porch", Fault("unplug", at=100, seconds=25))]
    watched(clock, given, lambda m, s: seen.update({s: dict(m.health().troubles)}))
    assert not any(troubles for s, troubles in seen.items() if 3 < s < 19)
    late = [troubles for s, troubles in seen.items() if 21 < s < 35]
    assert late[-1]["porch"].startswith("lost for ")
    assert [set(troubles) for troubles in late] == [{"porch"}] * len(late)
    assert not seen[max(seen)]


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    clock = VirtualClock()

    def look(monitor: Monitor, now_s: float) -> None:
        if now_s > 5:
            assert monitor.health().alive
            with (changed := clock.condition()):
                changed.wait(61.0)  # in the thread that answers
            health = monitor.health()
            assert (health.alive, health.ready) == (False, False)
            assert health.troubles["engine"] == "has not turned its loop for 61 s"

    watched(clock, [camera(clock, "hall")], look, until_s=6)


def test_an_answer_that_comes_again_with_an_end_is_counted_once() -> None:
    clock = VirtualClock()
    monitor = watched(clock, [camera(clock, "hall", seconds=4)], lambda *_: None)
    [hall] = monitor.counted().sources
    assert hall.answers > 2
    assert len(monitor.counted().times) == monitor.counted().inference.count == hall.answers
    for _ in range(2 * KEPT):
        monitor.answered(says("wave", 0))
    assert len(monitor.counted().times) == KEPT


def test_the_first_answer_is_timed_from_the_start_of_the_process() -> None:
    clock, seen = VirtualClock(), list[float | None]()
    before_s = process_age_s()
    watched(clock, [camera(clock, "hall")], lambda m, _: seen.append(m.counted().first_answer_s))
    assert before_s is not None and seen[0] is not None
    assert before_s <= seen[0] <= (process_age_s() or 0)
    assert len(seen) > 1 and set(seen) == {seen[0]}  # later ones change nothing


def test_before_a_run_it_is_alive_and_not_ready() -> None:
    monitor = Monitor(
        RunFacts(), [], VirtualClock(), lambda name: camera(VirtualClock(), name).source
    )
    assert (monitor.health().alive, monitor.health().ready) == (True, False)
    assert monitor.figures()["sources"] == {}


def test_a_source_is_switched_off_and_on_and_its_numbers_only_grow() -> None:
    clock, told, frames = VirtualClock(), list[tuple[str, bool]](), list[int]()
    changes = list[StateChange]()
    given = [camera(clock, "hall"), camera(clock, "porch")]
    given = [replace(one, on_state=changes.append) for one in given]

    def look(monitor: Monitor, now_s: float) -> None:
        if not told:
            monitor.listen(lambda *change: told.append(change))
            told.append(("", True))
        monitor.enable("porch", not 10 < now_s < 20)
        porch = monitor.counted().sources[1]
        frames.append(porch.frames)
        if not monitor.enabled()["porch"]:
            assert (porch.state, porch.address) == ("ended", "faulty test://64x48/10")
            assert monitor.health().ready
            assert "porch" in monitor.figures()["sources"]

    monitor = watched(clock, given, look, until_s=30)
    assert told[1:] == [("porch", False), ("porch", True)]
    assert frames == sorted(frames)
    assert frames[-1] > 150
    assert [c.state for c in changes if c.source == "porch"] == ["live", "ended", "live", "ended"]
    assert monitor.counted().answered_utc_s["porch"] > 20


def test_what_cannot_be_switched_is_named() -> None:
    clock = VirtualClock()

    class Once(TestPattern):
        reopens = False

    once = SourceInput(Once(size=(64, 48), fps=10, frames=100, clock=clock), name="pipe")

    def look(monitor: Monitor, _: float) -> None:
        with pytest.raises(InputError, match="no source 'cellar' can be switched; there are: pipe"):
            monitor.enable("cellar", False)
        with pytest.raises(InputError, match="pipe: cannot be disabled, as it cannot be opened"):
            monitor.enable("pipe", False)
        assert monitor.enabled() == {"pipe": True}

    watched(clock, [once], look, until_s=3)
    with pytest.raises(InputError, match="cannot be switched"):
        UnknownRun().enable("hall", True)
