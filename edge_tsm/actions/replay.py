"""Answers of the past decided again, by rules that may be others."""

from __future__ import annotations

from collections.abc import Iterable

from edge_tsm.actions.decider import DECIDERS
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Activation, Event, Logits, Prediction


def replay(
    answers: Iterable[tuple[float, Logits]],
    rules: Rules,
    labels: tuple[str, ...],
    *,
    activation: Activation = "softmax",
) -> list[Event]:
    """Return the actions that a decider finds in the answers of one source, each as its end.

    Args:
        answers: time by the source's clock, and logits (classes,), in their order; what is on
            after the last one ends with it.
        rules, labels, activation: as of a `Decider`.

    Raises:
        InputError: the rules name a label that the model does not have.

    >>> import numpy as np
    >>> logits = [np.array(row, np.float32) for row in ([5, 0], [0, 5], [0, 5], [5, 0])]
    >>> rules = Rules(on=0.9, off=0.5, background=("idle",))
    >>> for event in replay(enumerate(logits), rules, ("idle", "wave")):
    ...     print(event.label, event.start_s, event.told_s)
    wave 1 3
    """
    decider = DECIDERS[activation](rules, labels)
    events = list[Event]()
    for time_s, logits in answers:
        # Deciders look at logits alone: nobody needs the probabilities of each answer again.
        answer = Prediction(labels, logits, logits, 0.0, activation=activation)
        events += decider.update(answer, time_s=time_s).events
    events += decider.finish()
    return [event for event in events if event.kind == "end"]
