"""Charts hold what they are to show, at 1 class as at 1040, and nothing of others' names."""

from __future__ import annotations

from xml.etree import ElementTree as Tree

import numpy as np
import pytest

from edge_tsm.evaluation.charts import (
    Bar,
    Interval,
    Margins,
    confusion_map,
    confusion_matrix,
    interval_chart,
    latency_chart,
    margin_chart,
    reliability_chart,
    training_chart,
)
from edge_tsm.evaluation.metrics import figures, reliability
from edge_tsm.evaluation.svg import Drawing

HOSTILE = ["</text><script>alert(1)</script>", "打架 挥手", "", "\x1b[2J\x00 &amp; \u202e"]


def drawn(drawing: Drawing, tag: str, kind: str) -> list[dict[str, str]]:
    """Return the attributes of what is drawn; parsing says that it is well-formed."""
    root = Tree.fromstring(drawing.markup())
    assert root.find("{*}style") is not None
    return [e.attrib for e in root.findall(f"{{*}}{tag}") if kind in e.get("class", "").split()]


def confusion(classes: int, clips: int) -> np.ndarray:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, clips)
    logits = rng.normal(size=(clips, classes)).astype(np.float32)
    logits[np.arange(clips), truth] += 3
    return figures(logits, truth).confusion


@pytest.mark.parametrize("classes", [1, 2, 24])
def test_a_matrix_names_and_counts_every_cell(classes: int) -> None:
    found = confusion(classes, 6 * classes)
    drawing = confusion_matrix(found, [f"a long name, number {i}" for i in range(classes)], "x")
    cells = [c for kind in ("right", "wrong") for c in drawn(drawing, "rect", kind)]
    assert len(cells) == np.count_nonzero(found)
    assert drawing.width < 950


@pytest.mark.parametrize("classes", [25, 1040])
def test_a_map_has_a_pixel_for_every_cell_with_clips(classes: int) -> None:
    found = confusion(classes, 4 * classes)
    drawing = confusion_map(found, "x")
    paths = [p["d"] for kind in ("right", "wrong") for p in drawn(drawing, "path", kind)]
    assert sum(path.count("M") for path in paths) == np.count_nonzero(found)
    assert (drawing.width, drawing.height) == (classes, classes)


def test_right_answers_alone_are_blue() -> None:
    drawing = confusion_matrix(np.diag([3, 4]), ["a", "b"], "all right")
    assert not drawn(drawing, "rect", "wrong")
    assert len(drawn(drawing, "rect", "level-5")) == 2
    assert not drawn(confusion_matrix(np.array([[0, 3], [4, 0]]), ["a", "b"], "x"), "rect", "right")


def test_text_of_others_stays_text() -> None:
    drawing = confusion_matrix(np.eye(4, dtype=np.int64), HOSTILE, HOSTILE[0])
    assert "<script" not in drawing.markup()
    told = [e.text for e in Tree.fromstring(drawing.markup()).findall("{*}text")]
    assert "打架 挥手" in told
    assert not any(char < " " for text in told for char in text or "")


@pytest.mark.parametrize("confidence", [[0.5], [0.0, 1.0], [0.3, 0.31, 0.99]])
def test_a_reliability_diagram_has_a_bar_per_bin_with_clips(confidence: list[float]) -> None:
    right = np.arange(len(confidence)) % 2 == 0
    bins = reliability(np.array(confidence, np.float32), right)
    bars = drawn(reliability_chart(bins, "x"), "rect", "pale")
    assert len(bars) == sum(b.clips > 0 for b in bins)
    assert float(bars[0]["height"]) == pytest.approx(
        270 * next(b.accuracy for b in bins if b.clips)
    )


def test_bars_are_as_long_as_latencies() -> None:
    bars = [Bar("slow, engine", 100.0, 1.0, False), Bar("fast, engine", 25.0, 0.98, True)]
    drawing = latency_chart(bars, "x")
    [slow], [fast] = drawn(drawing, "rect", "pale"), drawn(drawing, "rect", "blue")
    assert float(slow["width"]) / float(fast["width"]) == pytest.approx(4, rel=0.01)


def test_flips_are_marked_and_losses_are_red() -> None:
    margins = Margins(np.array([0.1, 2.0, 3.0]), np.array([-0.1, -0.5, 2.9]), tolerance=0.3)
    drawing = margin_chart(margins, "x")
    assert [len(drawn(drawing, "circle", kind)) for kind in ("ring", "red", "blue")] == [1, 1, 1]
    margin_chart(Margins(np.array([]), np.array([]), 0.0), "no clips")


def test_intervals_and_curves_stay_in_their_plots() -> None:
    drawing = interval_chart([Interval("a", 1.0, 0.6, 1.0), Interval("b", 0.0, 0.0, 0.4)], "x")
    assert all(0 <= float(c["cx"]) <= drawing.width for c in drawn(drawing, "circle", "blue"))
    curves = training_chart({"training": [2.0, 1.0]}, {"training": [0.1, 0.9]}, "run")
    assert len(drawn(curves, "polyline", "curve-0")) == 2
