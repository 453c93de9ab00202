"""Answers of the past decided again, by rules that may be others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_tsm.actions.decider import DECIDERS
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Activation, Event, Logits, Prediction


@dataclass(frozen=True, eq=False)
class Replayed:
    """Actions, each as its end, and the smoothed scores of some classes, (answers, classes)."""

    events: tuple[Event, ...]
    scores: NDArray[np.float32]


def replay(
    answers: Iterable[tuple[float, Logits]],
    rules: Rules,
    labels: tuple[str, ...],
    *,
    activation: Activation = "softmax",
    watched: Sequence[int] = (),
) -> Replayed:
    """Return what a decider finds in the answers of one source.

    Args:
        answers: time by the source's clock, and logits (classes,), in their order; what is on
            after the last one ends with it.
        rules, labels, activation: as of a `Decider`.
        watched: classes whose scores are returned.

    Raises:
        InputError: the rules name a label that the model does not have.

    >>> logits = [np.array(row, np.float32) for row in ([5, 0], [0, 5], [0, 5], [5, 0])]
    >>> rules = Rules(on=0.9, off=0.5, background=("idle",))
    >>> for event in replay(enumerate(logits), rules, ("idle", "wave")).events:
    ...     print(event.label, event.start_s, event.told_s)
    wave 1 3
    """
    decider, chosen = DECIDERS[activation](rules, labels), list(watched)
    events, scores = list[Event](), list[NDArray[np.float32]]()
    for time_s, logits in answers:
        # Deciders look at logits alone: nobody needs the probabilities of each answer again.
        answer = Prediction(labels, logits, logits, 0.0, activation=activation)
        decision = decider.update(answer, time_s=time_s)
        events += decision.events
        if chosen:
            scores.append(decision.scores[chosen])
    events += decider.finish()
    ended = tuple(event for event in events if event.kind == "end")
    return Replayed(ended, np.array(scores, np.float32).reshape(len(scores), len(chosen)))
