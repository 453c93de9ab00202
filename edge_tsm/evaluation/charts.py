"""Charts of an evaluation, a training and a conversion, drawn by Pillow: no plotting library.

Its built-in font knows Latin letters; others in a label appear as boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from edge_tsm.evaluation.metrics import Bin

Rgb = tuple[int, int, int]
Point = tuple[float, float]
INK, FAINT, GRID, PAPER = (32, 36, 44), (130, 136, 146), (222, 226, 232), (255, 255, 255)
BLUE, PALE, RED = (24, 78, 156), (150, 176, 214), (196, 62, 46)
PAD_PX, TEXT_PX, TITLE_PX = 20, 13, 18
# Up to so many classes cells hold numbers, up to so many every row has its name.
MOST_COUNTED, MOST_NAMED = 24, 60
LABEL_CHARS, PAIRS, PAIRS_PX = 24, 14, 430
PLOT_PX, HISTOGRAM_PX, ROW_PX, BAR_PX = 420, 90, 34, 20
WIDE_PX, LOW_PX = 640, 260


def confusion_chart(
    confusion: NDArray[np.int64], labels: Sequence[str], title: str
) -> PilImage.Image:
    """Draw a confusion matrix, the true class in rows; color is the share of its clips.

    Right answers are blue and wrong ones red. With more than 24 classes the pairs most often
    confused are listed beside it, with more than 60 the axes count classes from 0.
    """
    count = len(labels)
    cell = _cell_px(count)
    rows = [f"{_fit(label)} ({n})" for label, n in zip(labels, confusion.sum(1), strict=True)]
    names = [_fit(label) for label in labels]
    if count > MOST_NAMED:
        rows = names = _ticks(count, cell)
    upright = max(map(_width, names)) > cell - 6
    left = PAD_PX + 24 + max(map(_width, rows)) + 8
    top = PAD_PX + TITLE_PX + 36 + (max(map(_width, names)) if upright else TEXT_PX) + 8
    side = count * cell
    width = left + side + PAD_PX + (PAIRS_PX if count > MOST_COUNTED else 0)
    sheet = _Sheet(max(width, left + _width(title, TITLE_PX) + PAD_PX), top + side + PAD_PX, title)
    sheet.image.paste(_cells(confusion, cell), (left, top))
    sheet.axis_titles("answered class", "true class", (left, top), side)
    for i in range(count):
        middle = i * cell + cell / 2
        sheet.text((left - 8, top + middle), rows[i], "rm")
        if upright:
            sheet.upright((left + middle, top - 8), names[i])
        else:
            sheet.text((left + middle, top - 8), names[i], "mb")
    if count <= MOST_COUNTED:
        _counts(sheet, confusion, (left, top), cell)
    else:
        _pairs(sheet, confusion, labels, (left + side + PAD_PX, top))
    sheet.draw.rectangle((left - 1, top - 1, left + side, top + side), outline=FAINT)
    return sheet.image


def reliability_chart(bins: Sequence[Bin], ece: float, title: str) -> PilImage.Image:
    """Draw accuracy over confidence, and how many clips each bin has.

    Bars on the diagonal mean that a confidence can be believed; red is what is missing or too much.
    """
    left, top = PAD_PX + 64, PAD_PX + TITLE_PX + 44
    low = top + PLOT_PX + 34 + HISTOGRAM_PX
    width = left + PLOT_PX + PAD_PX
    sheet = _Sheet(max(width, left + _width(title, TITLE_PX) + PAD_PX), low + 58, title)
    clips = sum(b.clips for b in bins)
    summary = f"{clips} clips, expected calibration error {100 * ece:.1f} %"
    sheet.text((left, top - 10), summary, "lb", color=FAINT)
    _share_axes(sheet, left, top)
    step, most = PLOT_PX / len(bins), max(b.clips for b in bins)
    for i, part in enumerate(bins):
        if not part.clips:
            continue
        x0, x1 = left + i * step + 1, left + (i + 1) * step - 1
        right, claimed = (top + PLOT_PX * (1 - v) for v in (part.accuracy, part.confidence))
        high, deep = sorted((right, claimed))
        sheet.draw.rectangle((x0, right, x1, top + PLOT_PX), fill=_mix(BLUE, 0.75))
        sheet.draw.rectangle((x0, high, x1, deep), fill=_mix(RED, 0.45))
        sheet.draw.rectangle((x0, low - HISTOGRAM_PX * part.clips / most, x1, low), fill=FAINT)
        sheet.draw.line((x0, right, x1, right), fill=BLUE, width=2)
    sheet.draw.line((left, top + PLOT_PX, left + PLOT_PX, top), fill=INK)
    sheet.draw.line((left, low, left + PLOT_PX, low), fill=FAINT)
    sheet.text((left - 8, low - HISTOGRAM_PX), str(most), "rm")
    sheet.text((left - 8, low), "0", "rm")
    sheet.upright((PAD_PX + 8, low - 4), "clips")
    sheet.text((left + PLOT_PX / 2, low + 22), "confidence", "mt")
    _legend(sheet, (left + 14, top + 12))
    return sheet.image


def training_chart(
    losses: Mapping[str, Sequence[float]], shares: Mapping[str, Sequence[float]], title: str
) -> PilImage.Image:
    """Draw losses and, beside them, accuracies (0 to 1) over epochs; one line per name."""
    left, top = PAD_PX + 64, PAD_PX + TITLE_PX + 44
    second = left + PLOT_PX + 90
    sheet = _Sheet(second + PLOT_PX + PAD_PX, top + PLOT_PX + 58, title)
    _share_axes(sheet, second, top, "top-1 accuracy", count_x=False)
    most = max(max(values) for values in losses.values()) * 1.05 or 1.0
    for tenth in range(0, 11, 2):
        y = top + PLOT_PX * (1 - tenth / 10)
        sheet.draw.line((left, y, left + PLOT_PX, y), fill=GRID)
        sheet.text((left - 8, y), f"{most * tenth / 10:.2f}", "rm")
    sheet.upright((PAD_PX + 8, top + PLOT_PX / 2 + 20), "loss")
    for x0, curves, scale in ((left, losses, most), (second, shares, 1.0)):
        count = len(next(iter(curves.values())))
        for row, (name, values) in enumerate(curves.items()):
            color = (BLUE, RED)[row % 2]
            _curve(sheet, (x0, top), [value / scale for value in values], color)
            # Above the plot: curves may run anywhere in it.
            sheet.text((x0 + 90 * row, top - 14), name, "ls", color=color)
        sheet.text((x0, top + PLOT_PX + 8), "1", "mt")
        sheet.text((x0 + PLOT_PX, top + PLOT_PX + 8), str(count), "mt")
        sheet.text((x0 + PLOT_PX / 2, top + PLOT_PX + 22), "epoch", "mt")
    return sheet.image


@dataclass(frozen=True)
class Bar:
    """One artifact on one engine; a `strong` bar stands out."""

    name: str
    latency_ms: float
    agreement: float
    strong: bool


def latency_chart(bars: Sequence[Bar], title: str) -> PilImage.Image:
    """Draw a bar per artifact, as long as its latency, with its top-1 agreement at the end."""
    left, top = PAD_PX + max(_width(bar.name) for bar in bars) + 12, PAD_PX + TITLE_PX + 22
    texts = [f"{bar.latency_ms:.1f} ms, {bar.agreement:.1%} agree" for bar in bars]
    right = left + PLOT_PX + 10 + max(map(_width, texts)) + PAD_PX
    low = top + ROW_PX * len(bars)
    sheet = _Sheet(max(right, 2 * PAD_PX + _width(title, TITLE_PX)), low + PAD_PX, title)
    longest_ms = max(bar.latency_ms for bar in bars)
    for row, (bar, text) in enumerate(zip(bars, texts, strict=True)):
        middle = top + (row + 0.5) * ROW_PX
        end = left + max(bar.latency_ms / longest_ms * PLOT_PX, 2)
        box = (left, middle - BAR_PX / 2, end, middle + BAR_PX / 2)
        sheet.draw.rectangle(box, fill=BLUE if bar.strong else PALE)
        sheet.text((left - 12, middle), bar.name, "rm")
        sheet.text((end + 10, middle), text, "lm")
    sheet.draw.line((left, top, left, low), fill=FAINT)
    return sheet.image


@dataclass(frozen=True, eq=False)
class Margins:
    """How sure a model is of each clip, (K,), before and after a change; below 0: another answer.

    A changed answer is no loss up to a margin of `tolerance`.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    tolerance: float


def margin_chart(margins: Margins, title: str) -> PilImage.Image:
    """Draw a dot per clip: its margin, and what the change adds to it.

    Dots below the slanted line have flipped: red where that is a loss, else open.
    """
    left, top = PAD_PX + 64, PAD_PX + TITLE_PX + 44
    width = left + WIDE_PX + PAD_PX
    sheet = _Sheet(max(width, 2 * PAD_PX + _width(title, TITLE_PX)), top + LOW_PX + 58, title)
    change = margins.after - margins.before
    widest = float(margins.before.max(initial=0)) * 1.05 or 1.0
    highest = float(np.abs(change).max(initial=0)) * 1.15 or 1.0
    x = left + margins.before / widest * WIDE_PX
    y = top + LOW_PX * (0.5 - change / highest / 2)
    _margin_axes(sheet, (left, top), widest, highest)
    end = min(highest, widest)  # where margin + change = 0 leaves the plot
    slanted = (left, top + LOW_PX / 2, left + end / widest * WIDE_PX)
    sheet.draw.line((*slanted, top + LOW_PX * (0.5 + end / highest / 2)), fill=INK)
    edge = left + margins.tolerance / widest * WIDE_PX
    sheet.draw.line((edge, top, edge, top + LOW_PX), fill=RED)
    for i in np.argsort(-margins.after):  # flips last, over the others
        box = (x[i] - 3, y[i] - 3, x[i] + 3, y[i] + 3)
        lost = margins.after[i] < 0 and margins.before[i] > margins.tolerance
        fill = BLUE if margins.after[i] >= 0 else RED if lost else PAPER
        sheet.draw.ellipse(box, fill=fill, outline=RED if margins.after[i] < 0 else BLUE)
    return sheet.image


def _margin_axes(sheet: _Sheet, corner: Point, widest: float, highest: float) -> None:
    left, top = corner
    for part in range(5):
        x, y = left + WIDE_PX * part / 4, top + LOW_PX * part / 4
        sheet.draw.line((x, top, x, top + LOW_PX), fill=GRID)
        sheet.draw.line((left, y, left + WIDE_PX, y), fill=GRID)
        sheet.text((x, top + LOW_PX + 8), f"{widest * part / 4:.2g}", "mt")
        sheet.text((left - 8, y), f"{highest * (1 - part / 2):+.2g}", "rm")
    sheet.text((left + WIDE_PX / 2, top + LOW_PX + 26), "margin of the answer, logits", "mt")
    sheet.upright((left - 58, top + LOW_PX / 2 + _width("change") / 2), "change")
    legend = "red line: up to here a flip is no loss; below the slanted line: flipped; red: lost"
    sheet.text((left, top - 10), legend, "lb", color=FAINT)


def stacked(pictures: Sequence[PilImage.Image]) -> PilImage.Image:
    """Return pictures one below the other."""
    height = sum(picture.height for picture in pictures)
    sheet = PilImage.new("RGB", (max(picture.width for picture in pictures), height), PAPER)
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (0, sum(above.height for above in pictures[:i])))
    return sheet


def _curve(sheet: _Sheet, corner: Point, heights: Sequence[float], color: Rgb) -> None:
    """Draw heights (0 to 1) from the left to the right edge of a plot."""
    step = PLOT_PX / max(len(heights) - 1, 1)
    points = [(corner[0] + i * step, corner[1] + PLOT_PX * (1 - h)) for i, h in enumerate(heights)]
    if len(points) > 1:
        sheet.draw.line(points, fill=color, width=2)
    for x, y in points:
        sheet.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)


class _Sheet:
    """A white picture with a title, and the ways to write on it."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.image = PilImage.new("RGB", (round(width), round(height)), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.draw.text((PAD_PX, PAD_PX), title, fill=INK, font=ImageFont.load_default(TITLE_PX))
        self._font = ImageFont.load_default(TEXT_PX)

    def text(self, place: Point, text: str, anchor: str, *, color: Rgb = INK) -> None:
        """Write with Pillow's text anchor at `place`."""
        self.draw.text(place, text, fill=color, font=self._font, anchor=anchor)

    def upright(self, place: Point, text: str) -> None:
        """Write upwards from `place`, which is the text's bottom and middle."""
        if not text:
            return
        strip = PilImage.new("RGB", (_width(text) + 2, TEXT_PX + 5), PAPER)
        ImageDraw.Draw(strip).text((0, 0), text, fill=INK, font=self._font)
        turned = strip.rotate(90, expand=True)
        left, top = place[0] - turned.width / 2, place[1] - turned.height
        self.image.paste(turned, (round(left), round(top)))

    def axis_titles(self, across: str, down: str, corner: Point, side: float) -> None:
        """Name what the columns and the rows of a square at `corner` are."""
        self.text((corner[0] + side / 2, PAD_PX + TITLE_PX + 14), across, "mt", color=FAINT)
        self.upright((PAD_PX + 8, corner[1] + side / 2 + _width(down) / 2), down)


def _cell_px(classes: int) -> int:
    if classes <= MOST_COUNTED:
        return min(max(560 // classes, 34), 120)
    return 18 if classes <= MOST_NAMED else max(840 // classes, 3)


def _cells(confusion: NDArray[np.int64], cell: int) -> PilImage.Image:
    """Return the colored cells; single errors among many clips stay visible."""
    share = np.sqrt(confusion / np.maximum(confusion.sum(1, keepdims=True), 1))[..., None]
    if len(confusion) > MOST_NAMED:  # cells of a few pixels
        share = np.where(share > 0, np.maximum(share, 0.6), 0)
    diagonal = np.eye(len(confusion), dtype=bool)[..., None]
    ink = np.where(diagonal, np.array(BLUE), np.array(RED))
    pixels = (np.array(PAPER) + share * (ink - np.array(PAPER))).astype(np.uint8)
    pixels = pixels.repeat(cell, 0).repeat(cell, 1)
    lines = np.arange(len(pixels)) % _grid_px(len(confusion), cell) == 0
    grid = lines[:, None] | lines[None, :]
    pixels[grid & (pixels == PAPER).all(-1)] = GRID
    return PilImage.fromarray(pixels)


def _grid_px(classes: int, cell: int) -> int:
    return cell if classes <= MOST_NAMED else cell * _tick_step(cell)


def _tick_step(cell: int) -> int:
    return next(step for step in (5, 10, 20, 50) if step * cell >= 40)


def _ticks(classes: int, cell: int) -> list[str]:
    step = _tick_step(cell)
    return [str(i) if i % step == 0 else "" for i in range(classes)]


def _counts(sheet: _Sheet, confusion: NDArray[np.int64], corner: Point, cell: int) -> None:
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            place = (corner[0] + (column + 0.5) * cell, corner[1] + (row + 0.5) * cell)
            color = PAPER if shares[row, column] > 0.3 else INK
            sheet.text(place, str(count), "mm", color=color)


def _pairs(
    sheet: _Sheet, confusion: NDArray[np.int64], labels: Sequence[str], corner: Point
) -> None:
    """List the wrong answers given most often."""
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    sheet.text(corner, "most often confused: true class > answer, clips", "lt", color=FAINT)
    y = corner[1] + 26
    for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[row, column]:
            true, answer = (f"{i} {_fit(labels[i])}" for i in (row, column))
            sheet.text((corner[0], y), f"{true} > {answer}, {wrong[row, column]}", "lt")
            y += 20


def _share_axes(
    sheet: _Sheet, left: float, top: float, name: str = "accuracy", *, count_x: bool = True
) -> None:
    for tenth in range(0, 11, 2):
        x, y = left + PLOT_PX * tenth / 10, top + PLOT_PX * (1 - tenth / 10)
        sheet.draw.line((left, y, left + PLOT_PX, y), fill=GRID)
        sheet.text((left - 8, y), f"{tenth * 10} %", "rm")
        if count_x:
            sheet.draw.line((x, top, x, top + PLOT_PX), fill=GRID)
            sheet.text((x, top + PLOT_PX + 8), f"{tenth * 10} %", "mt")
    sheet.upright((left - 56, top + PLOT_PX / 2 + _width(name) / 2), name)


def _legend(sheet: _Sheet, corner: Point) -> None:
    entries = ((_mix(BLUE, 0.75), "accuracy"), (_mix(RED, 0.45), "gap to the confidence"))
    for i, (color, text) in enumerate(entries):
        y = corner[1] + 20 * i
        sheet.draw.rectangle((corner[0], y, corner[0] + 12, y + 12), fill=color)
        sheet.text((corner[0] + 18, y + 6), text, "lm")


def _mix(color: Rgb, strength: float) -> Rgb:
    red, green, blue = (round(255 + strength * (c - 255)) for c in color)
    return red, green, blue


def _width(text: str, size: int = TEXT_PX) -> int:
    return round(ImageFont.load_default(size).getlength(text))


def _fit(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"
