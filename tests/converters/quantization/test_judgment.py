"""Int8 judged by what clips can tell: few, many, narrow, lost, with classes, saying nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.quantization.calibration import ClipSet
from converters.quantization.evidence import constant, copied, weigh
from converters.quantization.judgment import (
    Answers,
    Evidence,
    Judgment,
    Outcome,
    judge,
    lower_bound,
    mcnemar,
    upper_bound,
)
from converters.verification.clips import generated_clip


def answers(margins: list[float], changes: list[float]) -> Answers:
    """Two classes in turns: the margin of each answer, and what int8 adds to it."""
    sign = np.where(np.arange(len(margins)) % 2, 1, -1)
    reference, int8 = np.array(margins), np.array(margins) + np.array(changes)
    both = [
        np.stack([x * sign / 2, -x * sign / 2], 1).astype(np.float32) for x in (reference, int8)
    ]
    return Answers(*both)


def verdict(
    kept: Answers, *, max_drop: float = 0.01, drift: float = 0.02, **known: object
) -> Judgment:
    count = len(kept.reference)
    evidence = Evidence(tuple(f"clip {i}" for i in range(count)), np.ones(count, bool))
    evidence = replace(evidence, **known)  # type: ignore[arg-type]
    return judge(kept, answers([1.0, 1.0], [drift, drift]), evidence, max_drop=max_drop)


def sound(count: int) -> tuple[list[float], list[float]]:
    """Margins around 1, noise of 0.05."""
    return [1 + i % 3 for i in range(count)], [0.05 * (-1) ** (i // 2) for i in range(count)]


@pytest.mark.parametrize(
    ("clips", "max_drop", "outcome", "more"),
    [
        (1, 0.01, Outcome.UNPROVEN, None),
        (48, 0.01, Outcome.UNPROVEN, 251),
        (298, 0.01, Outcome.UNPROVEN, 1),
        (299, 0.01, Outcome.PROVEN, 0),
        (59, 0.05, Outcome.PROVEN, 0),
        (48, 0.0, Outcome.UNPROVEN, None),
    ],
)
def test_clips_that_agree_prove_what_their_number_proves(
    clips: int, max_drop: float, outcome: Outcome, more: int | None
) -> None:
    found = verdict(answers(*sound(clips)), max_drop=max_drop)
    assert found.outcome is outcome
    assert clips == 1 or found.more_clips == more
    assert (found.losses, found.flips) == (0, ())
    assert bool(found.reasons) is (outcome is not Outcome.PROVEN)


def test_a_flip_within_the_noise_is_no_loss() -> None:
    """The genuine checkpoint: 47 of 48 alike, the one flip at a margin of 0.03."""
    margins, changes = sound(48)
    margins[7], changes[7] = 0.03, -0.05
    found = verdict(answers(margins, changes), max_drop=0.1)
    assert (found.outcome, found.losses, len(found.flips)) == (Outcome.PROVEN, 0, 1)
    assert found.tolerance == pytest.approx(0.05, rel=0.01)
    flip = found.flips[0]
    assert (flip.clip, flip.reference, flip.int8, flip.lost) == ("clip 7", (0,), (1,), False)
    assert flip.margin == pytest.approx(0.03, rel=0.01)
    assert found.summary == (
        "proven: 47 of 48 clips alike, 1 flipped within noise; int8 loses at most 6.1% of answers "
        "(allowed 10.0%)"
    )
    strict = verdict(answers(margins, changes))
    assert strict.outcome is Outcome.UNPROVEN
    assert "251 more like these would prove it" in strict.reasons[0]


def test_a_noisy_file_cannot_excuse_its_flips_by_its_noise() -> None:
    margins, _ = sound(48)
    found = verdict(answers(margins, [-2.5] * 48))
    assert found.tolerance <= 0.2
    assert (found.outcome, found.losses) == (Outcome.WORSE, 32)
    assert "it loses 32 of 48 answers, so at least" in found.reasons[0]


@pytest.mark.parametrize(("lost", "outcome"), [(1, Outcome.UNPROVEN), (3, Outcome.WORSE)])
def test_losses_beyond_the_noise_count(lost: int, outcome: Outcome) -> None:
    margins, changes = sound(48)
    for i in range(lost):
        changes[i] = -3.5
    found = verdict(answers(margins, changes))
    assert (found.outcome, found.losses) == (outcome, lost)
    assert found.more_clips is None
    if outcome is Outcome.UNPROVEN:
        assert "at this rate more clips would not prove it" in found.reasons[0]


@pytest.mark.parametrize(("gained", "outcome"), [(0, Outcome.WORSE), (8, Outcome.PROVEN)])
def test_classes_tell_whether_int8_is_wrong_more_often(gained: int, outcome: Outcome) -> None:
    """Narrow flips, no loss one by one: all to the wrong side, or to either."""
    margins, changes = sound(300)
    for i in range(16):
        margins[i], changes[i] = 0.02, -0.04
    kept = answers(margins, changes)
    labels = kept.reference.argmax(1)
    labels[:gained] = kept.int8.argmax(1)[:gained]
    found = verdict(kept, labels=labels)
    assert found.pairs is not None
    assert (found.pairs.only_reference, found.pairs.only_int8) == (16 - gained, gained)
    assert (found.outcome, found.losses) == (outcome, 0)
    assert gained or "McNemar p = 0.000" in found.reasons[0]


def test_clips_that_do_not_count_prove_nothing_and_lose_nothing() -> None:
    margins, changes = sound(400)
    changes[0] = -9
    counts = np.ones(400, bool)
    counts[0] = False
    found = verdict(answers(margins, changes), counts=counts)
    assert (found.outcome, found.clips, found.losses) == (Outcome.PROVEN, 399, 0)
    assert len(found.flips) == 1 and not found.flips[0].lost
    none = verdict(answers(margins, changes), counts=np.zeros(400, bool))
    assert (none.outcome, none.clips, none.at_most) == (Outcome.UNPROVEN, 0, 1)
    assert none.summary == "unproven: no clip kept back tells anything"


def test_one_answer_to_all_clips_is_what_a_dead_file_gives() -> None:
    logits = np.tile(np.float32([2, 0]), (400, 1))
    found = verdict(Answers(logits, logits))
    assert (found.outcome, found.clips) == (Outcome.UNPROVEN, 0)
    assert "gives all 400 clips kept back one answer" in found.reasons[0]


def test_generated_clips_withhold_the_proof() -> None:
    found = verdict(answers(*sound(400)), drift=0.6)
    assert found.outcome is Outcome.UNPROVEN
    assert found.reasons == (
        "on generated clips its logits move by 60% of their size (at most 25%): the clips to "
        "calibrate on show too little of what may come",
    )
    assert verdict(answers(*sound(400)), drift=float("nan")).outcome is Outcome.UNPROVEN


def test_a_flip_is_weighed_by_the_class_it_goes_to() -> None:
    """The runner-up is near, but int8 answers the class that the reference puts last."""
    reference = np.tile(np.float32([[3, 2.99, 0], [0, 3, 2.99]]), (24, 1))
    int8 = reference.copy()
    int8[0] = [3, 0, 3.5]
    found = verdict(Answers(reference, int8))
    assert found.flips[0].margin == 3 and found.losses == 1


def test_with_sigmoid_outputs_every_class_is_a_decision() -> None:
    generator = np.random.default_rng(5)
    reference = generator.choice([-2.0, 2.0], (400, 3)).astype(np.float32)
    int8 = reference + generator.normal(0, 0.02, (400, 3)).astype(np.float32)
    reference[0, 1], int8[0, 1] = 0.01, -0.01
    kept = Answers(reference, int8, "sigmoid")
    found = verdict(kept)
    assert (found.outcome, found.losses, len(found.flips)) == (Outcome.PROVEN, 0, 1)
    on = set(np.flatnonzero(reference[0] > 0).tolist())
    assert (set(found.flips[0].reference), set(found.flips[0].int8)) == (on, on - {1})
    int8[1] *= -1
    assert verdict(kept).losses == 1


@given(st.integers(1, 400), st.data())
def test_the_bounds_are_those_of_the_binomial_distribution(clips: int, data: st.DataObject) -> None:
    from math import comb

    losses = data.draw(st.integers(0, clips))

    def at_most(k: int, p: float) -> float:
        return sum(comb(clips, i) * p**i * (1 - p) ** (clips - i) for i in range(k + 1))

    low, high = lower_bound(losses, clips), upper_bound(losses, clips)
    assert low <= losses / clips <= high
    assert losses == clips or at_most(losses, high) == pytest.approx(0.05, rel=1e-6)
    assert not losses or 1 - at_most(losses - 1, low) == pytest.approx(0.05, rel=1e-6)


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    assert mcnemar(8, 2) == pytest.approx(56 / 1024)
    assert mcnemar(2, 8) == pytest.approx(1013 / 1024)


def test_constant_and_duplicate_clips_are_named_and_do_not_count() -> None:
    shown = np.stack([generated_clip(seed, 2, 64) for seed in range(3)])
    black = np.zeros_like(shown[:2])
    grainy = (128 + np.random.default_rng(0).normal(0, 1.5, shown[:1].shape)).astype(np.uint8)
    again = np.clip(shown[:1].astype(int) + 2, 0, 255).astype(np.uint8)  # as encoded once more
    kept = ClipSet(
        np.concatenate((shown[1:], black, grainy, again)),
        names=("a", "b", "black 1", "black 2", "gray", "first again"),
    )
    warnings: list[str] = []
    evidence = weigh(kept, ClipSet(shown[:1], names=("first",)), warn=warnings.append)
    assert evidence.counts.tolist() == [True, True, False, False, False, False]
    assert warnings == [
        "3 of 7 int8 clips are constant (one color, or black): black 1, black 2, gray",
        "2 of 7 int8 clips are duplicates: black 2, first again",
        "2 of 6 clips kept back count as evidence for int8",
    ]


def test_ranges_from_constant_clips_are_warned_about() -> None:
    black = ClipSet(np.zeros((2, 2, 64, 64, 3), np.uint8))
    warnings: list[str] = []
    assert not weigh(black, black, warn=warnings.append).counts.any()
    assert "all clips to calibrate on are constant" in warnings[2]


def test_real_clips_count() -> None:
    crops = np.stack([generated_clip(seed, 4, 96) for seed in range(20)])
    assert not constant(crops).any() and not copied(crops).any()
