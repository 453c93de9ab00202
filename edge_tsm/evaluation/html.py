"""An evaluation as a page: figures, classes, what is confused, calibration, the worst clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_tsm.data.sets import classes_of, truth_of
from edge_tsm.evaluation.charts import (
    MOST_NAMED,
    Interval,
    confusion_map,
    confusion_matrix,
    interval_chart,
    reliability_chart,
)
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.evaluation.journal import Outcome
from edge_tsm.evaluation.page import Clip, Clips, Figure, Part, Section, Table, Text, render
from edge_tsm.evaluation.stills import stills
from edge_tsm.inference.postprocess import probabilities
from edge_tsm.system.printable import printable
from edge_tsm.system.tables import count
from edge_tsm.system.width import fit

WORST_CLIPS, MOST_PAIRS, MOST_UNREAD = 12, 25, 50
LABEL_COLUMNS = 80  # of a name: one of others may have thousands


def as_html(evaluation: Evaluation, models: Mapping[str, str]) -> str:
    """Return the page; `models` says what answered, by name. Worst clips are opened once more."""
    return _Report(evaluation, models).page()


class _Report:
    def __init__(self, evaluation: Evaluation, models: Mapping[str, str]) -> None:
        self._of, self._models = evaluation, models
        self._labels = [fit(printable(label), LABEL_COLUMNS) for label in evaluation.labels]

    def page(self) -> str:
        names = ", ".join(self._models)
        sections = [
            self._overall(),
            *self._classes(),
            *(part for column in self._of.columns for part in self._of_column(column)),
            *self._worst(self._of.columns[0]),
            *self._unread(),
        ]
        return render(f"Evaluation of {fit(names, LABEL_COLUMNS)}", list(self._lead()), sections)

    def _lead(self) -> Iterator[str]:
        of, protocol = self._of, self._of.protocol
        read = f"{len(of.answered)} of {len(of.outcomes)} clips could be read"
        damaged = f", {len(of.damaged)} of them damaged" if of.damaged else ""
        yield f"{read}{damaged}; {count(len(of.labels), 'class')}."
        yield (
            f"Frames by `{protocol.sampling}`, clips a video {protocol.clips}, crops "
            f"{protocol.crops}, average of {protocol.average}."
        )
        for name, file in self._models.items():
            yield f"`{name}`: {file}"

    def _overall(self) -> Section:
        parts: list[Part] = []
        if self._of.activation == "sigmoid":
            head = ("model", "mAP", "F1", "all classes right")
            found = {name: self._of.set_figures(name) for name in self._of.columns}
            rows = [
                (name, *map(_percent, (f.mean_precision, f.f1, f.exact)))
                for name, f in found.items()
            ]
            parts.append(Table(head, rows))
        if self._of.exclusive:
            parts += self._shares()
        return Section("How good are the answers?", tuple(parts))

    def _shares(self) -> Iterator[Part]:
        found = {name: self._of.figures(name) for name in self._of.columns}
        head = ("model", "clips", "right", "top-1", "top-5", "mean class", "calibration error")
        rows = [
            (
                *(name, str(f.clips), str(f.correct), _percent(f.top1), _percent(f.top5)),
                *(_percent(f.mean_class), _percent(f.ece)),
            )
            for name, f in found.items()
        ]
        yield Table(head, rows)
        intervals = [Interval(name, f.top1, *f.interval) for name, f in found.items()]
        drawing = interval_chart(intervals, "top-1 accuracy with its 95 % interval")
        yield Figure(drawing, "Top-1 accuracy, and the 95 % interval in which the true one lies.")

    def _classes(self) -> Iterator[Section]:
        """Yield every class with clips, lowest first."""
        columns = self._of.columns
        if self._of.activation == "sigmoid":
            sets = [self._of.set_figures(name) for name in columns]
            having, shares = sets[0].having, np.stack([f.precisions for f in sets])
            title, told = "Classes", "Average precision of each class that has clips."
        elif self._of.exclusive:
            confusions = [self._of.figures(name).confusion for name in columns]
            having = confusions[0].sum(1)
            right = np.stack([confusion.diagonal() for confusion in confusions])
            shares = right / np.maximum(having, 1)
            title, told = "Classes", "Share of each class's clips that is answered rightly."
        else:
            return
        order = [i for i in np.argsort(shares[0], kind="stable").tolist() if having[i]]
        rows = [
            (self._labels[i], str(having[i]), *(_percent(float(s)) for s in shares[:, i]))
            for i in order
        ]
        yield Section(title, (Text(told), Table(("class", "clips", *columns), rows)))

    def _of_column(self, column: str) -> Iterator[Section]:
        if not self._of.exclusive:
            return
        figures = self._of.figures(column)
        yield Section(f"What is confused: {column}", tuple(self._confusion(figures.confusion)))
        caption = (
            f"Expected calibration error {_percent(figures.ece)}: how far accuracy is from the "
            "confidence, on average. Bars that end on the diagonal can be believed."
        )
        chart = Figure(reliability_chart(figures.bins, f"reliability of {column}"), caption)
        yield Section(f"Can the confidence be believed? {column}", (chart,))

    def _confusion(self, confusion: NDArray[np.int64]) -> Iterator[Part]:
        pairs = confused_pairs(confusion)
        if not pairs:
            yield Text("No clip is answered wrongly.")
        else:
            shown = [
                (self._labels[a], self._labels[b], *map(str, (ab, ba, ab + ba)))
                for a, b, ab, ba in pairs[:MOST_PAIRS]
            ]
            more = len(pairs) - len(shown)
            rest = f" {more} more pairs are not listed." if more else ""
            yield Text(f"Pairs of classes by how often one is taken for the other.{rest}")
            yield Table(("A", "B", "A taken for B", "B taken for A", "clips"), shown)
        title = "confusion matrix"
        if len(self._labels) <= MOST_NAMED:
            caption = "Blue: right, red: wrong, by share of the true class's clips."
            yield Figure(confusion_matrix(confusion, self._labels, title), caption)
            return
        caption = (
            "A cell per true class (from above) and answer (from the left), in the order of the "
            "labels. Blue: right, red: wrong, by share of the true class's clips."
        )
        cells = [[r, c, int(confusion[r, c])] for r, c in np.argwhere(confusion).tolist()]
        data = {"labels": self._labels, "totals": confusion.sum(1).tolist(), "cells": cells}
        yield Figure(confusion_map(confusion, title), caption, data)

    def _worst(self, column: str) -> Iterator[Section]:
        found = worst(self._of, column)[:WORST_CLIPS]
        if not found:
            return
        clips = tuple(self._clip(outcome, column) for outcome in found)
        told = f"Wrong answers of `{column}`, the surest first (at most {WORST_CLIPS})."
        yield Section("Worst clips", (Text(told), Clips(clips)))

    def _clip(self, outcome: Outcome, column: str) -> Clip:
        shares = probabilities(outcome.logits[column], self._of.activation)
        true = ", ".join(f"{self._labels[i]} ({shares[i]:.0%})" for i in classes_of(outcome.sample))
        answer = int(np.argmax(shares))
        lines: tuple[str, ...] = (
            f"true: {true or 'none'}",
            f"answer: {self._labels[answer]} ({shares[answer]:.0%})",
        )
        if outcome.damage:
            lines += (f"damaged: {outcome.damage}",)
        return Clip(fit(outcome.sample.name, LABEL_COLUMNS), lines, stills(outcome.sample))

    def _unread(self) -> Iterator[Section]:
        rows = [(o.sample.name, "unreadable", o.error) for o in self._of.failed]
        rows += [(o.sample.name, "damaged", o.damage) for o in self._of.damaged]
        if not rows:
            return
        parts: list[Part] = [Table(("clip", "", "why"), rows[:MOST_UNREAD])]
        if len(rows) > MOST_UNREAD:
            parts.append(Text(f"{len(rows) - MOST_UNREAD} more are not listed."))
        yield Section("Clips that could not be read whole", tuple(parts))


def confused_pairs(confusion: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    """Return pairs of classes (a, b, a taken for b, b taken for a), most clips first.

    >>> confused_pairs(np.array([[5, 2, 0], [1, 4, 0], [1, 0, 0]]))
    [(0, 1, 2, 1), (0, 2, 0, 1)]
    """
    both = np.triu(confusion + confusion.T, 1)
    found = [(a, b, int(confusion[a, b]), int(confusion[b, a])) for a, b in np.argwhere(both)]
    pairs = [(int(a), int(b), ab, ba) for a, b, ab, ba in found]
    return sorted(pairs, key=lambda pair: -(pair[2] + pair[3]))


def worst(evaluation: Evaluation, column: str) -> list[Outcome]:
    """Return the clips whose answer is wrong, those first that miss the truth by most.

    By how much probability the answer has over the true class; with a sigmoid by how far the
    probability of the class that is most wrong is from the truth.
    """
    answered = evaluation.answered
    shares = probabilities(evaluation.logits(column), evaluation.activation)
    truth = truth_of([o.sample for o in answered], len(evaluation.labels))
    if evaluation.activation == "sigmoid":
        missed = np.abs(shares - truth).max(1) - 0.5
    else:
        missed = shares.max(1) - np.where(truth, shares, 0).max(1)
    return [answered[i] for i in np.argsort(-missed, kind="stable").tolist() if missed[i] > 0]


def _percent(share: float | None) -> str:
    return "" if share is None or np.isnan(share) else f"{100 * share:.1f} %"
