"""Events get an id and times of day at the moment they are decided."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Delay, Event, Prediction
from edge_tsm.system.clock import VirtualClock
from edge_tsm.system.ids import IdFactory
from tests.helpers.answers import LABELS, NOON, says


def live(label: str, time_s: float, source: str = "porch") -> Prediction:
    return replace(says(label, time_s), source=source, delay=Delay(1.0, 1.0, 250.0))


def tracker(clock: VirtualClock) -> ActionTracker:
    new_id = IdFactory(lambda: 1.0, random=random.Random(1))
    return ActionTracker(Rules(background=("nothing",)), LABELS, clock=clock, new_id=new_id)


def pass_until(clock: VirtualClock, time_s: float) -> None:
    with (changed := clock.condition()):
        changed.wait(time_s - clock.now())


def events_of(answers: list[tuple[str, float]], *, late_s: float = 0.25) -> list[Event]:
    """The events of answers that come so long after their last frame; noon is at 0 s."""
    clock = VirtualClock(epoch=NOON)
    decider = tracker(clock)
    events = []
    for label, time_s in answers:
        pass_until(clock, time_s + late_s)
        events += decider.update(live(label, time_s)).events
    return events + [event for last in decider.finish() for event in last.events]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_times_of_day_are_those_of_the_frames_and_of_the_decision() -> None:
    start, end = events_of([("nothing", 1.0), ("wave", 2.0), ("wave", 3.0), ("nothing", 4.0)])
    assert (start.start_utc, start.end_utc, start.decided_utc) == (at(2.0), None, at(2.25))
    assert (end.start_utc, end.end_utc, end.decided_utc) == (at(2.0), at(4.0), at(4.25))
    assert (start.duration_s, end.duration_s) == (None, 2.0)
    assert start.source == end.source == "porch"


def test_a_start_and_its_end_share_an_id_and_no_others_do() -> None:
    answers = [("wave", 1.0), ("clap", 2.0), ("nothing", 3.0), ("wave", 4.0)]
    ids = [event.id for event in events_of(answers)]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 3
    assert ids == sorted(ids)


def test_the_same_answers_and_factory_give_the_same_events() -> None:
    answers = [("wave", 1.0), ("clap", 2.0)]
    assert events_of(answers) == events_of(answers)


def test_a_source_that_counts_time_in_its_own_way_is_told_by_the_delay() -> None:
    clock = VirtualClock(1000.0, epoch=NOON)
    [start] = tracker(clock).update(live("wave", 5.0)).events  # captured 250 ms ago
    assert start.start_utc == at(999.75)


def test_the_end_of_a_source_that_was_lost_long_ago_is_when_it_was_seen_last() -> None:
    clock = VirtualClock(epoch=NOON)
    decider = tracker(clock)
    pass_until(clock, 5.0)
    decider.update(live("wave", 4.75))
    pass_until(clock, 3600.0)
    [last] = decider.finish()
    [end] = last.events
    assert (end.end_utc, end.decided_utc) == (at(4.75), at(3600.0))


def test_a_recording_has_media_time_only() -> None:
    decided = tracker(VirtualClock()).update(replace(says("wave", 7.0), source="x.mp4"))
    [start] = decided.events
    assert (start.start_s, start.start_utc) == (7.0, None)
    assert start.decided_utc is not None
    assert start.id


@given(st.lists(st.floats(0, 1e9, allow_nan=False), min_size=2, max_size=30))
def test_ids_grow_whatever_the_time_of_day_does(times_s: list[float]) -> None:
    wall = iter(times_s)
    new_id = IdFactory(lambda: next(wall))
    ids = [new_id() for _ in times_s]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_two_factories_make_different_ids_at_the_same_time() -> None:
    assert IdFactory(lambda: 1.0)() != IdFactory(lambda: 1.0)()
