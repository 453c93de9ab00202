"""Every source has its own decisions, and the actions that are on are ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Prediction
from edge_tsm.errors import InputError
from tests.helpers.answers import LABELS, says


def from_(source: str, label: str, time_s: float) -> Prediction:
    return replace(says(label, time_s), source=source)


def kinds(prediction: Prediction) -> list[tuple[str, str]]:
    return [(event.kind, event.label) for event in prediction.events]


def test_sources_do_not_mix() -> None:
    tracker = ActionTracker(Rules(background=("nothing",)), LABELS)
    assert kinds(tracker.update(from_("front", "wave", 0))) == [("start", "wave")]
    assert kinds(tracker.update(from_("back", "clap", 0))) == [("start", "clap")]
    assert kinds(tracker.update(from_("back", "nothing", 1))) == [("end", "clap")]
    front = tracker.update(from_("front", "wave", 1))
    assert front.decision is not None
    assert (front.decision.label, kinds(front)) == ("wave", [])


def test_open_actions_end_with_their_last_answers() -> None:
    tracker = ActionTracker(Rules(), LABELS)
    for t in (0, 1):
        for source, label in (("front", "wave"), ("back", "clap")):
            last = tracker.update(from_(source, label, t))
    front, back = tracker.finish()
    assert (front.source, kinds(front)) == ("front", [("end", "wave")])
    assert (back.source, kinds(back)) == ("back", [("end", "clap")])
    assert back.window == last.window
    assert back.decision is not None
    assert back.decision.label is None
    assert list(tracker.finish()) == []


def test_an_end_that_nobody_takes_is_kept() -> None:
    tracker = ActionTracker(Rules(), LABELS)
    for source in ("front", "back"):
        tracker.update(from_(source, "wave", 0))
    assert next(tracker.finish()).source == "front"
    assert [closing.source for closing in tracker.finish()] == ["back"]


def test_rules_that_do_not_suit_the_labels_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="no label 'Wave'; did you mean 'wave'"):
        ActionTracker(Rules(held=("Wave",)), LABELS)


def test_other_rules_hold_from_the_next_answer_on() -> None:
    tracker = ActionTracker(Rules(on=0.6), LABELS)
    first = tracker.update(from_("front", "wave", 0)).events[0]
    tracker.change(Rules(on=0.95, off=0.95))
    [ended] = tracker.update(from_("front", "wave", 1)).events
    assert (ended.kind, ended.id) == ("end", first.id)
    tracker.change(Rules(on=0.6), {"back": Rules(on=0.95)})
    assert kinds(tracker.update(from_("front", "wave", 2))) == [("start", "wave")]
    assert kinds(tracker.update(from_("back", "wave", 2))) == []
    tracker.change(Rules(on=0.6))
    assert kinds(tracker.update(from_("front", "wave", 3))) == []  # its rules are as they were
    assert kinds(tracker.update(from_("back", "wave", 3))) == [("start", "wave")]


def test_what_goes_on_under_other_rules_is_two_actions() -> None:
    tracker = ActionTracker(Rules(on=0.6), LABELS)
    tracker.update(from_("front", "wave", 0))
    tracker.change(Rules(on=0.7))
    changed = tracker.update(from_("front", "wave", 1))
    assert kinds(changed) == [("end", "wave"), ("start", "wave")]
    ended, begun = changed.events
    assert ended.told_s == 0
    assert ended.id != begun.id


def test_rules_that_cannot_be_change_nothing() -> None:
    tracker = ActionTracker(Rules(on=0.95, off=0.9), LABELS)
    with pytest.raises(InputError, match="no label 'Wave'"):
        tracker.change(Rules(on=0.5), {"front": Rules(held=("Wave",))})
    assert kinds(tracker.update(from_("front", "wave", 0))) == []
