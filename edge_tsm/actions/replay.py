"""Answers of the past decided again, by rules that may be others."""

from __future__ import annotations

from collections.abc import Sequence

from edge_tsm.actions.decider import DECIDERS
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Activation, Event, Logits, Prediction

MOST_SMOOTHED = 2  # by the rules that hold, and by those that someone tries
Smoothing = tuple[object, ...]


class Replay:
    """The answers of one source, to be decided by one set of rules after the other.

    Rules that smooth alike share the scores of the answers, which take nine tenths of the time.

    Args:
        answers: time by the source's clock, and logits (classes,), in their order.
        labels, activation: as of a `Decider`.

    >>> import numpy as np
    >>> logits = [np.array(row, np.float32) for row in ([5, 0], [0, 5], [0, 5], [5, 0])]
    >>> replay = Replay(list(enumerate(logits)), ("idle", "wave"))
    >>> for event in replay.events(Rules(on=0.9, off=0.5, background=("idle",))):
    ...     print(event.label, event.start_s, event.told_s)
    wave 1 3
    """

    def __init__(
        self,
        answers: Sequence[tuple[float, Logits]],
        labels: tuple[str, ...],
        activation: Activation = "softmax",
    ) -> None:
        self._answers, self._labels, self._kind = answers, labels, DECIDERS[activation]
        self._activation = activation
        self._smoothed: dict[Smoothing, list[Logits]] = {}

    def events(self, rules: Rules) -> list[Event]:
        """Return the actions that a decider finds, each as its end.

        What is on after the last answer ends with it.

        Raises:
            InputError: the rules name a label that the model does not have.
        """
        decider, events = self._kind(rules, self._labels), list[Event]()
        for (time_s, _), scores in zip(self._answers, self.scores(rules), strict=True):
            events += decider.update_scores(scores, time_s).events
        events += decider.finish()
        return [event for event in events if event.kind == "end"]

    def scores(self, rules: Rules) -> list[Logits]:
        """Return the smoothed scores of each answer, (classes,) float32.

        Raises:
            InputError: as of `events`.
        """
        smoothing = (rules.mean_answers, rules.decay_s, rules.ignored, rules.gap_s)
        found = self._smoothed.pop(smoothing, None)
        if found is None:
            decider = self._kind(rules, self._labels)
            found = [decider.update(self._answer(x), time_s=t).scores for t, x in self._answers]
        self._smoothed[smoothing] = found  # the newest is last
        while len(self._smoothed) > MOST_SMOOTHED:
            del self._smoothed[next(iter(self._smoothed))]
        return found

    def _answer(self, logits: Logits) -> Prediction:
        # Deciders look at logits alone: nobody needs the probabilities of each answer again.
        return Prediction(self._labels, logits, logits, 0.0, activation=self._activation)
