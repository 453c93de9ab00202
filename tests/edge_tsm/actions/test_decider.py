"""Answers become actions: every rule, the official demo's, and what a gap does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.actions.decider import Decider
from edge_tsm.actions.rules import PRESETS, Rules, Threshold
from edge_tsm.datatypes import Event, Prediction
from edge_tsm.errors import InputError
from tests.helpers.answers import LABELS, answer, says

JESTER = (
    *("Doing other things", "Drumming Fingers", "No gesture", "Pulling Hand In"),
    *("Pulling Two Fingers In", "Pushing Hand Away", "Pushing Two Fingers Away"),
    *("Rolling Hand Backward", "Rolling Hand Forward", "Shaking Hand", "Sliding Two Fingers Down"),
    *("Sliding Two Fingers Left", "Sliding Two Fingers Right", "Sliding Two Fingers Up"),
    *("Stop Sign", "Swiping Down", "Swiping Left", "Swiping Right", "Swiping Up", "Thumb Down"),
    *("Thumb Up", "Turning Hand Clockwise", "Turning Hand Counterclockwise"),
    *("Zooming In With Full Hand", "Zooming In With Two Fingers", "Zooming Out With Full Hand"),
    "Zooming Out With Two Fingers",
)


def events(rules: Rules, *answers: Prediction) -> list[tuple[str, str, float, float]]:
    """Kind, label, start and time of every event."""
    decider = Decider(rules, LABELS)
    found = [event for a in answers for event in decider.update(a).events]
    return [(e.kind, e.label, e.start_s, e.told_s) for e in found]


def test_an_action_starts_above_on_and_ends_below_off() -> None:
    shares = [0.5, 0.7, 0.5, 0.45, 0.3, 0.5]
    found = events(Rules(), *(says("wave", t, p) for t, p in enumerate(shares)))
    assert found == [("start", "wave", 1, 1), ("end", "wave", 1, 4)]


def test_another_action_takes_over() -> None:
    found = events(Rules(), says("wave", 0), says("clap", 1))
    assert found == [("start", "wave", 0, 0), ("end", "wave", 0, 1), ("start", "clap", 1, 1)]


def test_a_short_action_is_not_reported_and_a_long_one_starts_where_it_began() -> None:
    rules = Rules(min_duration_s=2)
    sequence = ["wave", "wave", "nothing", "wave", "wave", "wave"]
    found = events(
        Rules(min_duration_s=2, background=("nothing",)),
        *(says(label, t) for t, label in enumerate(sequence)),
    )
    assert found == [("start", "wave", 3, 5)]
    assert events(rules, says("wave", 0), says("clap", 1), says("wave", 2)) == []


def test_the_same_action_waits_for_its_cool_down() -> None:
    rules = Rules(cool_down_s=3, background=("nothing",))
    sequence = ["wave", "nothing", "wave", "clap", "wave", "wave"]
    found = events(rules, *(says(label, t) for t, label in enumerate(sequence)))
    starts = [(label, at_s) for kind, label, _, at_s in found if kind == "start"]
    assert starts == [("wave", 0), ("clap", 3), ("wave", 4)]


def test_background_ends_and_never_starts() -> None:
    rules = Rules(background=("nothing",))
    assert events(rules, says("nothing", 0), says("nothing", 1)) == []
    found = events(rules, says("wave", 0), says("nothing", 1))
    assert found == [("start", "wave", 0, 0), ("end", "wave", 0, 1)]


def test_ignored_classes_do_not_compete() -> None:
    prediction = answer([1.0, 3.0, -9, -9])
    decision = Decider(Rules(ignored=("clap",)), LABELS).update(prediction)
    assert decision.label == "wave"
    assert decision.scores[1] == 0
    assert decision.scores.sum() == pytest.approx(1)
    assert prediction.label == "clap"  # the raw answer stays


def test_held_classes_change_nothing() -> None:
    rules = Rules(held=("other",))
    assert events(rules, says("other", 0)) == []
    assert events(rules, says("wave", 0), says("other", 1)) == [("start", "wave", 0, 0)]


def test_classes_have_their_own_thresholds() -> None:
    rules = Rules(thresholds={"wave": Threshold(0.95, 0.2)})
    assert events(rules, says("wave", 0), says("wave", 1, 0.96), says("wave", 2, 0.25)) == [
        ("start", "wave", 1, 1)
    ]
    assert events(rules, says("clap", 0))[0][1] == "clap"


def test_the_mean_of_logits_takes_its_time() -> None:
    decider = Decider(Rules(mean_answers=4), LABELS)
    for t, logits in enumerate(([4.0, 0, 0, 0], [0, 4, 0, 0], [0, 4, 0, 0], [0, 4, 0, 0])):
        scores = decider.update(answer(logits, t)).scores
    assert np.log(scores[1] / scores[0]) == pytest.approx(2, abs=1e-5)  # 3 - 1


def test_decay_goes_by_seconds_and_not_by_answers() -> None:
    ends = []
    for steps in (1, 10):
        decider = Decider(Rules(decay_s=2.0), LABELS)
        decider.update(answer([1, 0, 0, 0], 0))
        for step in range(1, steps + 1):
            last = decider.update(answer([0, 0, 0, 0], step / steps))
        ends.append(last.scores[0])
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


def test_a_gap_ends_what_was_on_and_forgets() -> None:
    decider = Decider(Rules(gap_s=3, mean_answers=9), LABELS)
    decider.update(says("wave", 0))
    decider.update(says("wave", 1))
    decision = decider.update(says("clap", 5))
    assert [(e.kind, e.label, e.told_s) for e in decision.events] == [
        ("end", "wave", 1),
        ("start", "clap", 5),
    ]


def test_time_that_runs_backwards_is_a_gap() -> None:
    found = events(Rules(cool_down_s=100), says("wave", 9), says("wave", 1))
    assert found == [("start", "wave", 9, 9), ("end", "wave", 9, 9), ("start", "wave", 1, 1)]


def test_the_end_of_the_source_ends_the_action() -> None:
    decider = Decider(Rules(), LABELS)
    decider.update(says("wave", 0))
    decider.update(says("wave", 2, 0.95))
    [end] = decider.finish()
    assert end == Event("end", 0, "wave", 0, 2, end.score)
    assert end.score == pytest.approx(0.95)
    assert decider.finish() == ()


def test_one_answer_that_is_not_a_number_passes() -> None:
    decider = Decider(Rules(decay_s=1.0), LABELS)
    decider.update(says("wave", 0))
    decider.update(answer([np.nan] * 4, 1))
    assert decider.update(says("wave", 2)).label == "wave"


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=40), st.integers(1, 3))
def test_starts_and_ends_alternate(answers: list[tuple[int, float]], settle: int) -> None:
    rules = Rules(settle_answers=settle, min_duration_s=1, cool_down_s=2, background=("nothing",))
    decider = Decider(rules, LABELS)
    found: list[Event] = []
    for time_s, (index, share) in enumerate(answers):
        shares = np.full(4, (1 - share) / 3 + 1e-9)
        shares[index] = share + 1e-9
        decision = decider.update(answer(np.log(shares), time_s))
        found += decision.events
        on = found[-1].label if found and found[-1].kind == "start" else None
        assert decision.label == on
    found += decider.finish()
    assert [e.kind for e in found] == ["start", "end"] * (len(found) // 2)
    assert all(e.label != "nothing" and e.start_s <= e.told_s for e in found)


def upstream(sums: list[int]) -> list[int]:
    """process_output of online_demo/main.py, with the history that its FPGA port starts with."""
    history = [2, 2]
    for best in sums:
        index = history[-1] if best in (7, 8, 21, 22, 3) else best
        index = 2 if index == 0 else index
        if index != history[-1] and history[-1] != history[-2]:
            index = history[-1]
        history = [*history, index][-20:]
        yield history[-1]


def test_the_preset_decides_as_the_official_demo() -> None:
    generator = random.Random(7)
    rows = [np.zeros(27, np.float32) for _ in range(400)]
    favourite = 0
    for row in rows:
        favourite = favourite if generator.random() < 0.8 else generator.randrange(27)
        row += [generator.gauss(0, 1) for _ in range(27)]
        row[favourite] += generator.choice((2, 6, 20))
    sums = [int(np.sum(rows[max(i - 11, 0) : i + 1], axis=0).argmax()) for i in range(len(rows))]
    decider = Decider(PRESETS["jester-demo"], JESTER)
    found = [decider.update(answer(row, i / 15, JESTER)).label for i, row in enumerate(rows)]
    wanted = [None if index == 2 else JESTER[index] for index in upstream(sums)]
    assert found == wanted
    assert len(set(found)) > 8


def test_labels_that_the_model_does_not_have() -> None:
    with pytest.raises(InputError, match=r"background: .* no label 'Wave'; did you mean 'wave'"):
        Decider(Rules(background=("Wave",)), LABELS)
    with pytest.raises(InputError, match="names every label"):
        Decider(Rules(ignored=LABELS), LABELS)
    with pytest.raises(InputError, match="other labels"):
        Decider(Rules(), LABELS).update(answer([1, 2], 0, ("a", "b")))


def test_a_prediction_without_a_window_needs_a_time() -> None:
    prediction = Prediction(LABELS, np.zeros(4, np.float32), np.full(4, 0.25, np.float32), 1.0)
    with pytest.raises(InputError, match="needs time_s"):
        Decider(Rules(), LABELS).update(prediction)
    Decider(Rules(), LABELS).update(prediction, time_s=3.0)
