"""Charts of an evaluation, a training and a conversion, as SVG: about as wide as a phone.

Where a chart cannot hold all classes' names, its cells alone are drawn; whoever shows it names
them, as the page's script does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_tsm.evaluation.metrics import Bin
from edge_tsm.evaluation.svg import Drawing, Point, width_px
from edge_tsm.system.width import fit

MOST_NAMED = 24  # classes of a confusion matrix whose rows and columns have names
LABEL_COLUMNS = 22
PAD_PX, TEXT_PX, LEFT_PX, TITLE_PX, ROW_PX = 8, 14, 44, 24, 40
# All but a matrix of long names fit into what a page leaves of a phone of 390 pixels, 324.
PLOT_PX, LOW_PX, HISTOGRAM_PX = 270, 220, 60
LEVELS, LEAST_LEVEL = 5, 3  # the least where a cell is a pixel
_STEEP = 55  # degrees that names of columns are turned by


def confusion_matrix(confusion: NDArray[np.int64], labels: Sequence[str], title: str) -> Drawing:
    """Draw a confusion matrix of few classes with names and counts, the true class in rows.

    Color is the share of the true class's clips: right answers are blue and wrong ones red.
    """
    count = len(labels)
    cell = min(max(PLOT_PX // count, 22), 64)
    names = [fit(label, LABEL_COLUMNS) for label in labels]
    rows = [f"{name} ({clips})" for name, clips in zip(names, confusion.sum(1), strict=True)]
    left = PAD_PX + max(map(width_px, rows)) + 6
    slope = math.radians(_STEEP)
    longest = max(map(width_px, names))
    top = PAD_PX + 3 * TEXT_PX + longest * math.sin(slope)
    right = max(longest * math.cos(slope) - cell / 2, 0) + PAD_PX
    told = "rows: true class; columns: answer"
    width = max(left + count * cell + right, 2 * PAD_PX + width_px(told))
    drawing = Drawing(width, top + count * cell + PAD_PX, title)
    drawing.text((PAD_PX, PAD_PX + TEXT_PX), told, "muted")
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        middle = (i + 0.5) * cell
        drawing.text((left - 6, top + middle + 4), row, "end")
        drawing.text((left + middle + 3, top - 6), name, turned=-_STEEP)
    for place, clips, share in _counted(confusion):
        _counted_cell(drawing, (left, top), cell, place, clips, share)
    _grid(drawing, (left, top), count, cell)
    return drawing


def _counted_cell(
    drawing: Drawing, corner: Point, cell: float, place: tuple[int, int], clips: int, share: float
) -> None:
    row, column = place
    x, y = corner[0] + column * cell, corner[1] + row * cell
    kind, level = "right" if row == column else "wrong", _level(share)
    drawing.box((x, y), (cell, cell), f"{kind} level-{level}")
    ink = "on-blue" if level > 3 else ""
    drawing.text((x + cell / 2, y + cell / 2 + 4), str(clips), f"middle {ink}".strip())


def _grid(drawing: Drawing, corner: Point, count: int, cell: float) -> None:
    left, top = corner
    for i in range(count + 1):
        drawing.line((left, top + i * cell), (left + count * cell, top + i * cell))
        drawing.line((left + i * cell, top), (left + i * cell, top + count * cell))


def confusion_map(confusion: NDArray[np.int64], title: str) -> Drawing:
    """Draw a confusion matrix of any size, a pixel per cell, the true class in rows."""
    count = len(confusion)
    drawing = Drawing(count, count, title)
    found: dict[str, list[tuple[int, int]]] = {}
    for place, _, share in _counted(confusion):
        kind = "right" if place[0] == place[1] else "wrong"
        level = max(_level(share), LEAST_LEVEL)
        found.setdefault(f"{kind} level-{level}", []).append(place)
    for kind, places in sorted(found.items()):
        drawing.cells(places, kind)
    return drawing


def _counted(confusion: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], int, float]]:
    """Yield every cell with clips: its place, how many, and their share of the true class's."""
    totals = confusion.sum(1)
    for row, column in np.argwhere(confusion).tolist():
        clips = int(confusion[row, column])
        yield (row, column), clips, clips / int(totals[row])


def _level(share: float) -> int:
    """Return 1 to 5; single errors among many clips stay visible."""
    return math.ceil(LEVELS * math.sqrt(share))


def reliability_chart(bins: Sequence[Bin], title: str) -> Drawing:
    """Draw accuracy over confidence, and how many clips each bin has.

    Bars on the diagonal mean that a confidence can be believed; red is what is missing or too much.
    """
    left, top = LEFT_PX, PAD_PX + TITLE_PX
    bottom = top + PLOT_PX
    low = bottom + 30 + HISTOGRAM_PX
    drawing = Drawing(left + PLOT_PX + PAD_PX, low + 20, title)
    _share_axis(drawing, (left, top), PLOT_PX)
    step, most = PLOT_PX / len(bins), max(b.clips for b in bins)
    for i, part in enumerate(bins):
        share = f"{100 * i / len(bins):.0f} to {100 * (i + 1) / len(bins):.0f} %"
        if i % 3 == 0:
            drawing.text((left + i * step, bottom + 16), f"{100 * i / len(bins):.0f}", "muted")
        if part.clips:
            _bin(drawing, (left + i * step + 1, bottom), step - 2, part, share)
            height = HISTOGRAM_PX * part.clips / most
            drawing.box((left + i * step + 1, low - height), (step - 2, height), "muted")
    drawing.line((left, bottom), (left + PLOT_PX, top), "diagonal")
    drawing.line((left, low), (left + PLOT_PX, low), "axis")
    drawing.text((left - 6, low - HISTOGRAM_PX + 8), str(most), "end muted")
    drawing.text((left - 6, low), "clips", "end muted")
    drawing.text((left + PLOT_PX, low + 14), "confidence, %", "end muted")
    drawing.text((left, top - 10), "accuracy; red: gap to the confidence", "muted")
    return drawing


def _bin(drawing: Drawing, corner: Point, width: float, part: Bin, share: str) -> None:
    left, bottom = corner
    right, claimed = part.accuracy * PLOT_PX, part.confidence * PLOT_PX
    told = f"confidence {share}: {part.clips} clips, {100 * part.accuracy:.0f} % right"
    drawing.box((left, bottom - right), (width, right), "pale", told)
    high, deep = max(right, claimed), min(right, claimed)
    drawing.box((left, bottom - high), (width, high - deep), "rose", told)
    drawing.box((left, bottom - right - 1), (width, 2), "blue", told)


def _share_axis(drawing: Drawing, corner: Point, width: float) -> None:
    """Draw lines and names of 0 to 100 % over the height of a plot."""
    left, top = corner
    for part in range(0, 101, 20):
        y = top + PLOT_PX * (1 - part / 100)
        drawing.line((left, y), (left + width, y))
        drawing.text((left - 6, y + 4), f"{part} %", "end muted")


@dataclass(frozen=True)
class Interval:
    """A share (0 to 1), and from where to where it may lie."""

    name: str
    share: float
    low: float
    high: float


def interval_chart(intervals: Sequence[Interval], title: str) -> Drawing:
    """Draw a row per share: its dot, and the line on which it may lie."""
    left, width = PAD_PX, PLOT_PX + PAD_PX
    bottom = PAD_PX + ROW_PX * len(intervals)
    drawing = Drawing(left + width + LEFT_PX - PAD_PX, bottom + 20, title)
    for part in range(0, 101, 20):
        x = left + width * part / 100
        drawing.line((x, PAD_PX), (x, bottom))
        drawing.text((x, bottom + 14), f"{part} %", _inside(part / 100))
    for row, interval in enumerate(intervals):
        y = PAD_PX + ROW_PX * (row + 0.65)
        low, dot, high = (left + width * v for v in (interval.low, interval.share, interval.high))
        drawing.text((left, y - 12), fit(interval.name, 50))
        drawing.box((low, y - 3), (high - low, 6), "pale")
        drawing.dot((dot, y), "blue", 5)
    return drawing


def training_chart(
    losses: Mapping[str, Sequence[float]], shares: Mapping[str, Sequence[float]], title: str
) -> Drawing:
    """Draw losses and, beside them, accuracies (0 to 1) over epochs; one line per name."""
    left, top = LEFT_PX, PAD_PX + 2 * TITLE_PX
    second = left + PLOT_PX + LEFT_PX + 2 * PAD_PX
    drawing = Drawing(second + PLOT_PX + 2 * PAD_PX, top + PLOT_PX + 40, title)
    drawing.text((PAD_PX, PAD_PX + TEXT_PX), fit(title, 100), "strong")
    most = max(max(values) for values in losses.values()) * 1.05 or 1.0
    for part in range(6):
        y = top + PLOT_PX * (1 - part / 5)
        drawing.line((left, y), (left + PLOT_PX, y))
        drawing.text((left - 6, y + 4), f"{most * part / 5:.2f}", "end muted")
    _share_axis(drawing, (second, top), PLOT_PX)
    _curves(drawing, (left, top), "loss", losses, most)
    _curves(drawing, (second, top), "top-1 accuracy", shares, 1.0)
    return drawing


def _curves(
    drawing: Drawing, corner: Point, what: str, curves: Mapping[str, Sequence[float]], most: float
) -> None:
    left, top = corner
    count = len(next(iter(curves.values())))
    for row, (name, values) in enumerate(curves.items()):
        # Above the plot: curves may run anywhere in it.
        place = (left + 110 * row, top - 12)
        drawing.line((place[0], place[1] - 4), (place[0] + 12, place[1] - 4), f"curve-{row % 2}")
        drawing.text((place[0] + 16, place[1]), name)
        step = PLOT_PX / max(count - 1, 1)
        points = [
            (left + i * step, top + PLOT_PX * (1 - value / most)) for i, value in enumerate(values)
        ]
        drawing.polyline(points, f"curve-{row % 2}")
        for point in points if count < 60 else points[-1:]:
            drawing.dot(point, ("blue", "red")[row % 2], 2.5)
    drawing.text((left, top + PLOT_PX + 16), "1", "muted")
    drawing.text((left + PLOT_PX, top + PLOT_PX + 16), str(count), "end muted")
    drawing.text((left + PLOT_PX / 2, top + PLOT_PX + 30), f"{what} over epochs", "middle muted")


@dataclass(frozen=True)
class Bar:
    """One artifact on one engine; a `strong` bar stands out."""

    name: str
    latency_ms: float
    agreement: float
    strong: bool


def latency_chart(bars: Sequence[Bar], title: str) -> Drawing:
    """Draw a bar per artifact, as long as its latency, with its top-1 agreement at the end."""
    longest_px, longest_ms = PLOT_PX - 110, max(bar.latency_ms for bar in bars)
    drawing = Drawing(PLOT_PX + LEFT_PX + PAD_PX, PAD_PX + ROW_PX * len(bars), title)
    for row, bar in enumerate(bars):
        y = PAD_PX + ROW_PX * row
        width = max(bar.latency_ms / longest_ms * longest_px, 2)
        drawing.text((PAD_PX, y + 10), fit(bar.name, 50))
        drawing.box((PAD_PX, y + 15), (width, 14), "blue" if bar.strong else "pale")
        told = f"{bar.latency_ms:.1f} ms, {bar.agreement:.1%} agree"
        drawing.text((PAD_PX + width + 6, y + 26), told, "muted")
    return drawing


@dataclass(frozen=True, eq=False)
class Margins:
    """How sure a model is of each clip, (K,), before and after a change; below 0: another answer.

    A changed answer is no loss up to a margin of `tolerance`.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    tolerance: float


def margin_chart(margins: Margins, title: str) -> Drawing:
    """Draw a dot per clip: its margin, and what the change adds to it.

    Dots below the slanted line have flipped: red where that is a loss, else open.
    """
    left, top = LEFT_PX, PAD_PX + 2 * TEXT_PX
    drawing = Drawing(left + PLOT_PX + PAD_PX, top + LOW_PX + 40, title)
    change = margins.after - margins.before
    widest = float(margins.before.max(initial=0)) * 1.05 or 1.0
    highest = float(np.abs(change).max(initial=0)) * 1.15 or 1.0
    x = left + margins.before / widest * PLOT_PX
    y = top + LOW_PX * (0.5 - change / highest / 2)
    _margin_axes(drawing, (left, top), widest, highest)
    end = min(highest, widest)  # where margin + change = 0 leaves the plot
    fallen = top + LOW_PX * (0.5 + end / highest / 2)
    drawing.line((left, top + LOW_PX / 2), (left + end / widest * PLOT_PX, fallen), "diagonal")
    edge = left + margins.tolerance / widest * PLOT_PX
    drawing.line((edge, top), (edge, top + LOW_PX), "limit")
    for i in np.argsort(-margins.after):  # flips last, over the others
        lost = margins.after[i] < 0 and margins.before[i] > margins.tolerance
        drawing.dot((x[i], y[i]), "blue" if margins.after[i] >= 0 else "red" if lost else "ring")
    return drawing


def _margin_axes(drawing: Drawing, corner: Point, widest: float, highest: float) -> None:
    left, top = corner
    for part in range(5):
        x, y = left + PLOT_PX * part / 4, top + LOW_PX * part / 4
        drawing.line((x, top), (x, top + LOW_PX))
        drawing.line((left, y), (left + PLOT_PX, y))
        drawing.text((x, top + LOW_PX + 16), f"{widest * part / 4:.2g}", _inside(part / 4))
        drawing.text((left - 6, y + 4), f"{highest * (1 - part / 2):+.2g}", "end muted")
    drawing.text((left, top + LOW_PX + 32), "margin of the answer, logits", "muted")
    drawing.text(
        (left, PAD_PX + 8), "change by int8; left of the red line a flip is no loss;", "muted"
    )
    drawing.text((left, PAD_PX + 21), "below the dashed line: flipped (red: lost)", "muted")


def _inside(place: float) -> str:
    """Return the kind of a text under an axis (0 to 1) that stays within it."""
    if place in (0, 1):
        return "end muted" if place else "muted"
    return "middle muted"
