"""Pictures hold what they are to show, at 2 classes as at 400."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tsm.evaluation.charts import (
    BLUE,
    PALE,
    Bar,
    confusion_chart,
    latency_chart,
    reliability_chart,
)
from edge_tsm.evaluation.metrics import figures, reliability


def chart(classes: int, clips: int) -> np.ndarray:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, clips)
    logits = rng.normal(size=(clips, classes)).astype(np.float32)
    logits[np.arange(clips), truth] += 3
    found = figures(logits, truth)
    labels = [f"a class with a long name, number {i}" for i in range(classes)]
    return np.asarray(confusion_chart(found.confusion, labels, "a title"))


@pytest.mark.parametrize("classes", [1, 2, 24, 25, 60, 61, 400, 1040])
def test_a_confusion_matrix_of_any_size_can_be_drawn(classes: int) -> None:
    picture = chart(classes, 4 * classes)
    assert 150 < picture.shape[0] < 4000
    assert 150 < picture.shape[1] < 4000
    assert (picture[:, :, 0] < 100).any()


def test_right_answers_alone_leave_no_red() -> None:
    picture = np.asarray(confusion_chart(np.diag([3, 4]), ["a", "b"], "all right"))
    assert not (picture[..., 0] > picture[..., 2].astype(int) + 20).any()
    assert (picture == BLUE).all(-1).sum() > 20_000
    wrong = np.asarray(confusion_chart(np.array([[0, 3], [4, 0]]), ["a", "b"], "all wrong"))
    assert not (wrong == BLUE).all(-1).any()


def test_labels_of_other_scripts_and_none_at_all() -> None:
    confusion_chart(np.eye(3, dtype=np.int64), ["打", "сидеть", ""], "…")


@pytest.mark.parametrize("confidence", [[0.5], [0.0, 1.0], [0.3, 0.31, 0.99]])
def test_a_reliability_diagram_can_be_drawn(confidence: list[float]) -> None:
    right = np.arange(len(confidence)) % 2 == 0
    bins = reliability(np.array(confidence, np.float32), right)
    picture = np.asarray(reliability_chart(bins, 0.1, "a title"))
    assert (picture == BLUE).all(-1).any()


def test_bars_are_as_long_as_latencies() -> None:
    bars = [Bar("slow, engine", 100.0, 1.0, False), Bar("fast, engine", 25.0, 0.98, True)]
    image = latency_chart(bars, "a title that is rather longer than the bars are wide")
    colors = {color: count for count, color in image.getcolors(1 << 16) or []}
    slow, fast = colors[PALE], colors[BLUE]
    assert slow / fast == pytest.approx(4, rel=0.05)
