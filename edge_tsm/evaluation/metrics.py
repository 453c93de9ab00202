"""Figures of a classifier: pure functions over logits and true classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_tsm.datatypes import Logits
from edge_tsm.errors import InputError
from edge_tsm.inference.postprocess import softmax

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


def figures(logits: Logits, truth: NDArray[np.int64]) -> Figures:
    """Compare (N, classes) logits with (N,) true classes.

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
    bins = reliability(softmax(logits).max(1), hits[:, 0])
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
