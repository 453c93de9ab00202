"""Figures against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.errors import InputError
from edge_tsm.evaluation.metrics import (
    average_precisions,
    figures,
    fuse,
    reliability,
    set_figures,
    wilson,
)
from edge_tsm.inference.postprocess import softmax


def answers(*classes: int, of: int) -> np.ndarray:
    logits = np.zeros((len(classes), of), np.float32)
    logits[np.arange(len(classes)), classes] = 1
    return logits


def test_accuracy_per_class_and_confusion() -> None:
    found = figures(answers(0, 0, 1, 1, 1, of=3), np.array([0, 1, 1, 1, 0]))
    assert (found.clips, found.correct, found.top1) == (5, 3, 0.6)
    assert found.confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found.mean_class == pytest.approx((1 / 2 + 2 / 3) / 2)  # no clip is of class 2
    assert found.top5 is None
    listed = found.to_json(["a", "b", "c"])["classes"]
    assert listed[1] == {"label": "b", "clips": 3, "correct": 2, "accuracy": 2 / 3}
    assert listed[2]["accuracy"] is None


def test_top5_says_something_from_six_classes_on() -> None:
    logits = np.tile(np.arange(6, dtype=np.float32), (6, 1))  # class 0 is always last
    assert figures(logits, np.arange(6)).top5 == pytest.approx(5 / 6)
    assert figures(logits[:, :5], np.arange(5).repeat(2)[:6]).top5 is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(32, 48, 0.5254, 0.7832), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_calibration_is_the_gap_of_confidence_and_accuracy() -> None:
    confidence = np.array([0.9, 0.95, 0.6, 0.62], np.float32)
    right = np.array([True, False, True, True])
    bins = [b for b in reliability(confidence, right, 10) if b.clips]
    assert [b.clips for b in bins] == [2, 2]
    assert [b.accuracy for b in bins] == [1.0, 0.5]
    assert bins[1].confidence == pytest.approx(0.925)
    certain = figures(answers(1, 1, of=2) * 100, np.array([1, 0]))
    assert certain.ece == pytest.approx(0.5)


@pytest.mark.parametrize("truth", [[0, 3], [0, -1], [0]])
def test_truth_that_does_not_fit_is_refused(truth: list[int]) -> None:
    with pytest.raises(InputError):
        figures(answers(0, 1, of=3), np.array(truth))


def test_no_clips_have_no_figures() -> None:
    with pytest.raises(InputError, match="0 answers"):
        figures(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))


def test_fusing_logits_is_a_weighted_mean() -> None:
    rows = np.array([[0, 4], [2, 0]], np.float32)
    assert fuse(rows, [1, 1], "logits").tolist() == [1, 2]
    assert fuse(rows, [3, 1], "logits").tolist() == [0.5, 3]


@given(st.lists(st.floats(0.0, 9.0), min_size=3, max_size=3), st.integers(0, 99))
def test_fusing_softmax_averages_probabilities(weights: list[float], seed: int) -> None:
    weights[0] += 0.1
    rows = np.random.default_rng(seed).normal(0, 30, (3, 4)).astype(np.float32)
    shares = np.array(weights) / sum(weights)
    expected = (shares[:, None] * softmax(rows.astype(np.float64))).sum(0)
    fused = fuse(rows, weights, "softmax")
    assert np.isfinite(fused).all()
    assert softmax(fused) == pytest.approx(expected, abs=1e-5)


# --- several classes a clip ---------------------------------------------------------------------


def test_average_precision_is_the_mean_precision_at_each_clip_that_has_the_class() -> None:
    scores = np.array([[4], [3], [2], [1]], np.float32)
    has = np.array([[1], [0], [1], [0]], bool)
    assert average_precisions(scores, has) == pytest.approx([(1 + 2 / 3) / 2])
    assert average_precisions(-scores, has) == pytest.approx([(1 / 2 + 2 / 4) / 2])
    assert average_precisions(np.zeros_like(scores), has) == pytest.approx([1 / 2])  # one rank
    assert np.isnan(average_precisions(scores, np.zeros_like(has))).all()


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_average_precision_is_what_counting_by_thresholds_gives(seed: int, clips: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, (clips, 1)).astype(np.float32)  # with ties
    has = generator.random((clips, 1)) < 0.4
    has[0] = True
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores.ravel().tolist()), reverse=True):
        on = scores >= threshold
        recall = (on & has).sum() / has.sum()
        expected += (recall - before) * (on & has).sum() / on.sum()
        before = recall
    assert average_precisions(scores, has) == pytest.approx([expected])


def test_figures_of_sets() -> None:
    logits = np.array([[2, -1, -1], [1, 3, -1], [-2, 1, -1]], np.float32)
    found = set_figures(logits, np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], bool))
    assert (found.clips, found.exact, found.f1) == (3, 2 / 3, 6 / 7)
    data = found.to_json(("a", "b", "c"))
    assert data["mean_average_precision"] == 1
    assert data["classes"][2] == {
        "label": "c", "clips": 0, "average_precision": None, "found": 0, "wrong": 0
    }  # fmt: skip
    with pytest.raises(InputError, match="cannot be compared"):
        set_figures(logits, np.ones((3, 2), bool))
