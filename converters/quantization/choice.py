"""Rounded, refined or equalized? Whichever answers nearest to f32, on clips used for none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from converters.quantization.equalize import Equalization
from converters.quantization.judgment import Answers, drift
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import Layer
from converters.quantization.session import open_session
from edge_tsm.bundle.card import Activation
from edge_tsm.datatypes import Logits

Layers = Mapping[str, Layer]
_LEAST_CLIPS = 4
# Of what the others move the logits by: equalized ones must earn it. On sound networks 0.7 to 0.9
# on the clips that choose was 0.9 to 1.2 on 96 others; where channels differ much it is a tenth.
_MUCH_NEARER = 0.5


@dataclass(frozen=True, eq=False)
class Way:
    """A float graph to quantize, the ranges of its tensors, and what its layers are to hold.

    `equalization` is what made the graph of the network's own, None where that is it.
    """

    source: Path
    ranges: Ranges
    layers: Layers
    equalization: Equalization | None = None


@dataclass(frozen=True)
class Choice:
    """What is chosen, and by how much each way moves the logits, a share of their size."""

    chosen: Way
    way: str
    drifts: Mapping[str, float] = field(default_factory=dict)
    answers: int = 0

    def __str__(self) -> str:
        if not self.drifts:
            return f"{self.way}: fewer than {_LEAST_CLIPS} clips to calibrate on"
        found = ", ".join(f"{way} {moved:.2%}" for way, moved in self.drifts.items())
        return f"{self.way}; logits move by {found} in {self.answers} answers to other clips"


def parted(clips: int) -> tuple[list[int], list[int]]:
    """Return which of the clips to calibrate on weights are fitted to, and which choose the way.

    >>> parted(6), parted(3)
    (([0, 1, 2, 4, 5], [3]), ([0, 1, 2], []))
    """
    chosen = [i for i in range(clips) if i % _LEAST_CLIPS == _LEAST_CLIPS - 1]
    return [i for i in range(clips) if i not in chosen], chosen


def nearest(
    ways: Mapping[str, Way],
    write: Callable[[Way], Path],
    expected: Logits,
    feeds: Sequence[Feed],
    activation: Activation,
) -> Choice:
    """Return the way whose file, as `write` makes it, answers `feeds` nearest to `expected`.

    One of equalized channels is taken only if it is nearer by far.
    """
    drifts = {
        name: drift(Answers(expected, answers(write(way), feeds), activation))
        for name, way in ways.items()
    }
    best = min(drifts, key=lambda n: drifts[n] / (_MUCH_NEARER if ways[n].equalization else 1))
    return Choice(ways[best], best, drifts, len(expected))


def answers(path: Path, feeds: Iterable[Feed]) -> Logits:
    """Return the logits of every feed, (K, classes)."""
    session = open_session(path)
    logits = session.get_outputs()[0].name
    return np.concatenate([session.run([logits], dict(feed))[0] for feed in feeds])
