"""Decisions where each class has a probability of its own: several actions at once."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tsm.actions.decider import DECIDERS, Decider, IndependentDecider
from edge_tsm.actions.rules import Rules, Threshold
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Decision, Event, Prediction, Window
from edge_tsm.inference.postprocess import probabilities

LABELS = ("walk", "wave", "nothing")
Told = tuple[str, str, float]


def answer(*shares: float, time_s: float = 0.0) -> Prediction:
    """An answer with these probabilities."""
    p = np.array(shares, np.float32)
    logits = np.log(p / (1 - p))
    window = Window((0,), time_s - 1, time_s)
    return Prediction(LABELS, logits, p, 5.0, window, activation="sigmoid")


def run(rules: Rules, *rows: tuple[float, float, float]) -> list[Told]:
    """Decide on answers a second apart, then finish: what was told, and the start of each."""
    decider = IndependentDecider(rules, LABELS)
    events: list[Event] = []
    for second, row in enumerate(rows):
        events += decider.update(answer(*row, time_s=second)).events
    return [(e.kind, e.label, e.told_s) for e in (*events, *decider.finish())]


def test_several_actions_are_on_at_once_and_end_one_by_one() -> None:
    told = run(
        Rules(on=0.6, off=0.4), (0.7, 0.1, 0.1), (0.7, 0.9, 0.1), (0.3, 0.5, 0.1), (0.3, 0.5, 0.1)
    )
    assert told == [
        ("start", "walk", 0), ("start", "wave", 1), ("end", "walk", 2), ("end", "wave", 3)
    ]  # fmt: skip


def test_each_class_has_its_own_thresholds() -> None:
    rules = Rules(on=0.6, off=0.4, thresholds={"wave": Threshold(0.9, 0.8)})
    told = run(rules, (0.7, 0.85, 0.1), (0.5, 0.95, 0.1), (0.5, 0.7, 0.1))
    assert told[:3] == [("start", "walk", 0), ("start", "wave", 1), ("end", "wave", 2)]


def test_a_duration_is_waited_for_per_class_with_the_true_start() -> None:
    decider = IndependentDecider(Rules(min_duration_s=2), LABELS)
    rows = [(0.9, 0.1, 0.1), (0.9, 0.9, 0.1), (0.9, 0.9, 0.1), (0.9, 0.1, 0.1)]
    events = [
        e for s, row in enumerate(rows) for e in decider.update(answer(*row, time_s=s)).events
    ]
    assert [(e.kind, e.label, e.start_s, e.told_s) for e in events] == [("start", "walk", 0, 2)]


def test_a_cool_down_holds_one_class_only() -> None:
    rules = Rules(cool_down_s=3)
    on, off = (0.9, 0.9, 0.1), (0.1, 0.9, 0.1)
    told = run(rules, on, off, on, on, on, on)
    assert told == [
        ("start", "walk", 0), ("start", "wave", 0), ("end", "walk", 1), ("start", "walk", 4),
        ("end", "walk", 5), ("end", "wave", 5),
    ]  # fmt: skip


def test_background_ends_all_and_lets_none_start() -> None:
    rules = Rules(background=("nothing",))
    told = run(rules, (0.9, 0.9, 0.1), (0.9, 0.9, 0.9), (0.9, 0.9, 0.9))
    assert told == [
        ("start", "walk", 0), ("start", "wave", 0), ("end", "walk", 1), ("end", "wave", 1)
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["ignored", "held"])
def test_ignored_and_held_classes_never_start(part: str) -> None:
    told = run(Rules(**{part: ("walk",)}), (0.9, 0.9, 0.1))  # type: ignore[arg-type]
    assert told == [("start", "wave", 0), ("end", "wave", 0)]


def test_answers_may_have_to_settle() -> None:
    flicker = [(0.9, 0.1, 0.1), (0.1, 0.1, 0.1), (0.9, 0.1, 0.1)]
    assert run(Rules(settle_answers=3), *flicker) == [("start", "walk", 0), ("end", "walk", 2)]


def test_a_gap_ends_all() -> None:
    decider = IndependentDecider(Rules(gap_s=2), LABELS)
    decider.update(answer(0.9, 0.9, 0.1, time_s=0))
    ended = decider.update(answer(0.1, 0.1, 0.1, time_s=10)).events
    assert [(e.kind, e.label, e.told_s) for e in ended] == [("end", "walk", 0), ("end", "wave", 0)]


def test_the_answers_say_which_decider() -> None:
    assert {"softmax": Decider, "sigmoid": IndependentDecider} == DECIDERS
    tracker = ActionTracker(Rules(), LABELS)
    decided = [tracker.update(answer(0.8, 0.9, 0.1, time_s=t)) for t in range(3)]
    first, last = (p.decision for p in (decided[0], decided[-1]))
    assert isinstance(first, Decision)
    assert isinstance(last, Decision)
    assert (last.action, last.actions, last.on, last.label) == (1, (0, 1), (0, 1), "wave")
    assert last.to_json()["actions"] == ["walk", "wave"]
    ended = [event for p in tracker.finish() for event in p.events]
    ids = {event.label: event.id for event in first.events}
    assert {event.label: event.id for event in ended} == ids  # each end has its own start's id
    assert len(set(ids.values())) == 2


def test_one_action_at_a_time_says_nothing_of_several() -> None:
    softmax = Prediction(LABELS, np.zeros(3, np.float32), np.ones(3, np.float32) / 3, 1.0)
    decision = Decider(Rules(on=0.3, off=0.3), LABELS).update(softmax, time_s=0)
    assert (decision.actions, decision.on) == (None, (0,))
    assert "actions" not in decision.to_json()


def test_an_answer_of_several_classes_names_those_of_half_or_more() -> None:
    assert [s.label for s in answer(0.6, 0.9, 0.4).answered] == ["wave", "walk"]
    assert answer(0.1, 0.2, 0.3).answered == []
    one = Prediction(LABELS, np.array([1, 2, 3], np.float32), np.zeros(3, np.float32), 1.0)
    assert [s.label for s in one.answered] == ["nothing"]


@pytest.mark.parametrize("value", [0.0, 1.5, -80.0, 90.0, 1e30, -1e30])
def test_a_probability_per_class_is_the_logistic_function(value: float) -> None:
    [share] = probabilities(np.array([value], np.float32), "sigmoid")
    with np.errstate(over="ignore"):
        assert share == pytest.approx(1 / (1 + np.exp(-np.float64(value))), abs=1e-7)
