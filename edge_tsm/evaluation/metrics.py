"""Figures of a classifier: pure functions over logits and true classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_tsm.datatypes import Activation, Logits
from edge_tsm.errors import InputError
from edge_tsm.inference.postprocess import probabilities

Average = Literal["logits", "softmax"]
BINS = 15  # as Guo et al. 2017
_Z95 = 1.959964  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Bin:
    """Clips whose confidence is in one part of 0 to 1: how many, their means (0 if none)."""

    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Figures:
    """How well the answers fit the truth; every share is 0 to 1.

    `interval` is the 95 % confidence interval of `top1`. `top5` is None up to five classes, where
    it would say nothing. `mean_class` is the mean over classes that have clips. `confusion` is
    (classes, classes), the true class in rows, the answer in columns. `ece` is the expected
    calibration error over `bins` of equal width.
    """

    clips: int
    correct: int
    top1: float
    interval: tuple[float, float]
    top5: float | None
    mean_class: float
    confusion: NDArray[np.int64]
    ece: float
    bins: tuple[Bin, ...]

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return a JSON-ready mapping; a class without clips has accuracy null."""
        clips, right = self.confusion.sum(1).tolist(), self.confusion.diagonal().tolist()
        classes = zip(labels, clips, right, strict=True)
        return {
            "clips": self.clips,
            "correct": self.correct,
            "top1": self.top1,
            "top1_interval95": list(self.interval),
            "top5": self.top5,
            "mean_class": self.mean_class,
            "ece": self.ece,
            "classes": [
                {"label": label, "clips": n, "correct": k, "accuracy": k / n if n else None}
                for label, n, k in classes
            ],
            "confusion": self.confusion.tolist(),
            "reliability": [vars(b) for b in self.bins],
        }


def figures(
    logits: Logits, truth: NDArray[np.int64], *, activation: Activation = "softmax"
) -> Figures:
    """Compare (N, classes) logits with (N,) true classes; `activation` gives the confidence.

    Raises:
        InputError: no clips, or a true class that the logits do not have.

    >>> logits = np.array([[2, 0], [0, 1], [3, 0], [1, 0]], np.float32)
    >>> found = figures(logits, np.array([0, 1, 0, 1]))
    >>> found.correct, found.top1, found.confusion.tolist()
    (3, 0.75, [[2, 0], [1, 1]])
    """
    count, classes = logits.shape
    if count == 0 or len(truth) != count:
        raise InputError(f"{count} answers cannot be compared with {len(truth)} true classes")
    if truth.min() < 0 or truth.max() >= classes:
        raise InputError(
            f"class {truth.max()} is none of the model's {classes} (0 to {classes - 1})"
        )
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = order == truth[:, None]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, order[:, 0]), 1)
    present = confusion.sum(1) > 0
    correct = int(hits[:, 0].sum())
    bins = reliability(probabilities(logits, activation).max(1), hits[:, 0])
    return Figures(
        clips=count,
        correct=correct,
        top1=correct / count,
        interval=wilson(correct, count),
        top5=float(hits[:, :5].any(1).mean()) if classes > 5 else None,
        mean_class=float((confusion.diagonal()[present] / confusion.sum(1)[present]).mean()),
        confusion=confusion,
        ece=sum(b.clips * abs(b.accuracy - b.confidence) for b in bins) / count,
        bins=bins,
    )


@dataclass(frozen=True, eq=False)
class SetFigures:
    """How well answers fit the truth where a clip may have several classes; shares are 0 to 1.

    `precisions` is the average precision of each class, NaN for one without clips, and
    `mean_precision` (mAP) their mean. At a probability of one half: `exact` is the share of clips
    whose classes are all right, `found` of each class the clips that have it and got it, `wrong`
    those that got it without having it; `having` counts the clips of each class.
    """

    clips: int
    mean_precision: float
    precisions: NDArray[np.float64]
    exact: float
    having: NDArray[np.int64]
    found: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @property
    def f1(self) -> float:
        """The F1 score over all pairs of clip and class (micro average)."""
        found, wrong, having = (int(n.sum()) for n in (self.found, self.wrong, self.having))
        return 2 * found / max(1, found + wrong + having)

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return a JSON-ready mapping; a class without clips has average precision null."""
        rows = zip(labels, self.having, self.precisions, self.found, self.wrong, strict=True)
        return {
            "clips": self.clips,
            "mean_average_precision": _number(self.mean_precision),
            "exact": self.exact,
            "f1": self.f1,
            "classes": [
                {
                    "label": label,
                    "clips": int(n),
                    "average_precision": _number(ap),
                    "found": int(right),
                    "wrong": int(wrong),
                }
                for label, n, ap, right, wrong in rows
            ],
        }


def set_figures(logits: Logits, truth: NDArray[np.bool_]) -> SetFigures:
    """Compare (N, classes) logits, each with a probability of its own, with (N, classes) truth.

    Raises:
        InputError: no clips, or another number of them or of classes.

    >>> logits = np.array([[2, -1], [1, 3], [-2, 1]], np.float32)
    >>> found = set_figures(logits, np.array([[1, 0], [1, 1], [0, 0]], bool))
    >>> found.mean_precision, round(found.exact, 3), found.wrong.tolist()
    (1.0, 0.667, [0, 1])
    """
    if not len(logits) or logits.shape != truth.shape:
        raise InputError(f"answers {logits.shape} cannot be compared with classes {truth.shape}")
    on = logits >= 0  # a probability of one half or more
    precisions = average_precisions(logits, truth)
    return SetFigures(
        clips=len(logits),
        mean_precision=_mean(precisions),
        precisions=precisions,
        exact=float((on == truth).all(1).mean()),
        having=truth.sum(0),
        found=(on & truth).sum(0),
        wrong=(on & ~truth).sum(0),
    )


def mean_average_precision(logits: Logits, truth: NDArray[np.bool_]) -> float:
    """Return the mean over classes that have clips of `average_precisions`; NaN if none has."""
    return _mean(average_precisions(logits, truth))


def average_precisions(logits: Logits, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each class's average precision: the mean, over its clips, of precision at their rank.

    Clips with the same score share a rank (as scikit-learn's `average_precision_score`). NaN for a
    class without clips. Takes (N, classes) each.
    """
    columns = zip(logits.T, truth.T, strict=True)
    return np.array([_average_precision(scores, has) for scores, has in columns], np.float64)


def _average_precision(scores: Logits, has: NDArray[np.bool_]) -> float:
    if not has.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(has[order])
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of equal scores
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927), honest for few trials too."""
    share, z2 = successes / trials, _Z95**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    variance = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = _Z95 * math.sqrt(variance) / (1 + z2 / trials)
    return max(0.0, center - half), min(1.0, center + half)


def reliability(
    confidence: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Sort answers by confidence into `bins` parts of 0 to 1 (Guo et al., ICML 2017)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    parts = [(confidence[place == i], correct[place == i]) for i in range(bins)]
    return tuple(
        Bin(len(c), float(c.mean()), float(right.mean())) if len(c) else Bin(0, 0.0, 0.0)
        for c, right in parts
    )


def fuse(logits: Logits, weights: Sequence[float], average: Average) -> Logits:
    """Return the weighted mean of (K, classes) answers to one clip, (classes,) float32.

    "softmax" averages probabilities and returns their logarithm, so that both kinds of answer are
    logits: softmax gives the mean probabilities back.
    """
    shares = np.asarray(weights, np.float64)[:, None] / float(np.sum(weights))
    rows = logits.astype(np.float64)
    if average == "logits":
        return np.asarray((shares * rows).sum(0), np.float32)
    rows = rows - rows.max(1, keepdims=True)
    rows = rows - np.log(np.exp(rows).sum(1, keepdims=True))
    rows = rows[shares[:, 0] > 0] + np.log(shares[shares > 0])[:, None]
    top = rows.max(0)
    return np.asarray(top + np.log(np.exp(rows - top).sum(0)), np.float32)
