"""Classes with few clips: how uneven a list is, and an order that shows each class as often.

A classifier that sees one class ten times as often as another learns to answer that one when in
doubt. Where each clip has one class, the clips of an epoch are drawn by class: every class gets an
equal share of the draws, filled by going round its clips in random order, so that the clips of a
rare class come several times (each time in another variation), those of a frequent one in turns
from epoch to epoch. Where clips may have several classes no order can do that, and the rare side of
each class counts more in the loss instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from edge_tsm.datatypes import Activation

UNEVEN = 2.0  # times as many clips as another class has

Classes = tuple[int, ...]  # of one clip


def class_counts(clips: Any, classes: int) -> NDArray[np.int64] | None:
    """Return how many clips have each class; None for clips that do not say (`labels`)."""
    labels: Sequence[Classes] | None = getattr(clips, "labels", None)
    if labels is None:
        return None
    flat = [label for of_clip in labels for label in of_clip]
    return np.bincount(np.array(flat, np.int64), minlength=classes)


def is_uneven(counts: NDArray[np.int64]) -> bool:
    """Return whether the classes that have clips differ by more than 2:1.

    >>> is_uneven(np.array([10, 5, 0])), is_uneven(np.array([11, 5]))
    (False, True)
    """
    present = counts[counts > 0]
    return len(present) > 0 and bool(present.max() > UNEVEN * present.min())


def describe_counts(counts: NDArray[np.int64], activation: Activation) -> str:
    """Return a line that says how uneven the classes are, and what is done about it."""
    present = np.flatnonzero(counts)
    few, many = present[counts[present].argmin()], present[counts[present].argmax()]
    done = "each class is shown equally often"
    if activation == "sigmoid":
        done = "the rare side of each class counts more"
    return (
        f"classes have {counts[few]} (class {few}) to {counts[many]} (class {many}) clips: {done}; "
        "balance=False shows them as they are"
    )


class BalancedOrder(Sampler[int]):
    """As many indices as there are clips, each class equally often, in random order.

    The order comes from `generator` alone, so the same epoch of a resumed run has the same one.
    """

    def __init__(self, labels: Sequence[Classes], generator: torch.Generator) -> None:
        self._labels, self._generator = [of_clip[0] for of_clip in labels], generator

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[int]:
        labels = torch.tensor(self._labels)
        present = sorted(set(self._labels))
        quota, rest = divmod(len(labels), len(present))
        extra = set(self._shuffled(torch.tensor(present))[:rest].tolist())
        drawn = [
            self._rounds(torch.nonzero(labels == label).flatten(), quota + (label in extra))
            for label in present
        ]
        yield from self._shuffled(torch.cat(drawn)).tolist()

    def _rounds(self, clips: torch.Tensor, count: int) -> torch.Tensor:
        """Return `count` of `clips`, none a second time before all came once."""
        rounds = [self._shuffled(clips) for _ in range(-(-count // len(clips)))]
        return torch.cat([*rounds, clips[:0]])[:count]

    def _shuffled(self, values: torch.Tensor) -> torch.Tensor:
        return values[torch.randperm(len(values), generator=self._generator)]
