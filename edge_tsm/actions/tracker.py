"""Answers of several sources, each with its own decider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from edge_tsm.actions.decider import DECIDERS, Decider
from edge_tsm.actions.rules import Rules
from edge_tsm.actions.stamp import Stamp
from edge_tsm.datatypes import Decision, Event, Prediction
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.ids import IdFactory


@dataclass
class _Track:
    """The rules and decider of one source, the stamp of its events, the answer it saw last."""

    rules: Rules
    decider: Decider
    stamp: Stamp
    last: Prediction

    def stamped(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Return the events with ids and times of day; to be called when they are decided."""
        return tuple(map(self.stamp, events))


class ActionTracker:
    """Adds a decision to every answer; sources are told apart by their id, `prediction.source`.

    Args:
        rules: how answers become actions.
        labels: of the model.
        own: rules of single sources.
        clock: of the answers' times; it says what time of day events are of.
        new_id: makes the ids of events.

    Raises:
        InputError: the rules name a label that the model does not have.

    >>> import edge_tsm, edge_tsm.demo
    >>> from edge_tsm.actions.rules import Rules
    >>> from edge_tsm.demo.synthetic import generate
    >>> recognizer = edge_tsm.load(edge_tsm.demo.bundle())
    >>> tracker = ActionTracker(Rules(on=0.5), recognizer.card.labels)
    >>> answer = recognizer.predict(
    ...     [recognizer.prepare(image) for image in generate(0, times=8)],
    ...     window=edge_tsm.datatypes.Window(tuple(range(8)), 0.0, 1.0),
    ... )
    >>> tracker.update(answer).decision.label == answer.label
    True
    >>> [event.kind for closing in tracker.finish() for event in closing.decision.events]
    ['end']
    """

    def __init__(
        self,
        rules: Rules,
        labels: tuple[str, ...],
        *,
        clock: Clock = SYSTEM_CLOCK,
        new_id: Callable[[], str] | None = None,
        own: Mapping[str | None, Rules] | None = None,
    ) -> None:
        self._labels = labels
        self.change(rules, own or {})
        self._clock, self._new_id = clock, new_id or IdFactory()
        self._tracks: dict[str | None, _Track] = {}

    def change(self, rules: Rules, own: Mapping[str | None, Rules] | None = None) -> None:
        """Decide by other rules, from the next answer of each source on; from any thread.

        What is on of a source whose rules are others ends with that answer, and may start anew.

        Raises:
            InputError: rules that name a label which the model does not have; all stays as it was.
        """
        own = dict(own or {})
        for each in (rules, *own.values()):
            each.check(self._labels)
        self._ruling = (rules, own)

    def rule(self, source: str, rules: Rules | None) -> None:
        """Give one source rules of its own, or, with None, those of all; see `change`."""
        shared, own = self._ruling
        others = {name: each for name, each in own.items() if name != source}
        self.change(shared, others | ({source: rules} if rules else {}))

    def update(self, prediction: Prediction) -> Prediction:
        """Return the next answer of its source with a decision.

        Raises:
            InputError: an answer without a window, or with other labels.
        """
        shared, own = self._ruling
        rules = own.get(prediction.source, shared)
        track = self._tracks.get(prediction.source) or self._track(prediction, rules)
        ended = tuple[Event, ...]()
        if track.rules != rules:
            ended = track.decider.finish()
            track.rules, track.decider = rules, self._decider(prediction, rules)
        track.last = prediction
        decision = track.decider.update(prediction)
        track.stamp.see(prediction)
        events = track.stamped(ended + decision.events)
        return replace(prediction, decision=replace(decision, events=events))

    def _track(self, prediction: Prediction, rules: Rules) -> _Track:
        stamp = Stamp(prediction.source, clock=self._clock, new_id=self._new_id)
        track = _Track(rules, self._decider(prediction, rules), stamp, prediction)
        self._tracks[prediction.source] = track
        return track

    def _decider(self, prediction: Prediction, rules: Rules) -> Decider:
        return DECIDERS[prediction.activation](rules, self._labels)

    def finish(self) -> Iterator[Prediction]:
        """End the actions that are on, one by one: yield their last answers with the end.

        An action whose answer is not taken from the iterator stays on.
        """
        for source in list(self._tracks):
            yield from self.end(source)

    def end(self, source: str | None) -> Iterator[Prediction]:
        """End the action of one source, as `finish` does, and forget the source."""
        track = self._tracks.pop(source, None)
        if track is not None and (events := track.stamped(track.decider.finish())):
            ended = Decision(self._labels, None, track.last.probabilities, events)
            yield replace(track.last, decision=ended)
