"""From a stream of answers to actions: logits smoothed over time, events with a start and an end.

Pure and deterministic: time comes with the predictions, the same answers give the same events.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Activation, Decision, Event, Logits, Prediction
from edge_tsm.errors import InputError
from edge_tsm.inference.postprocess import probabilities


@dataclass
class _Pending:
    """A class that wants to start, and since when."""

    index: int
    since_s: float


@dataclass
class _Action:
    """The class that is on."""

    index: int
    start_s: float
    peak: float


class Decider:
    """Turns the predictions of one source into decisions; one per source, in time order.

    Raises:
        InputError: the rules name a label that the model does not have.

    >>> import edge_tsm, edge_tsm.demo
    >>> from edge_tsm.demo.synthetic import generate
    >>> recognizer = edge_tsm.load(edge_tsm.demo.bundle())
    >>> decider = Decider(Rules(on=0.5), recognizer.card.labels)
    >>> decision = decider.update(recognizer(list(generate(0))), time_s=1.0)
    >>> decision.label, [event.kind for event in decision.events]
    ('zoom in', ['start'])
    >>> [event.kind for event in decider.finish()]
    ['end']
    """

    activation: ClassVar[Activation] = "softmax"

    def __init__(self, rules: Rules, labels: tuple[str, ...]) -> None:
        self._rules, self._labels = rules, labels
        self._on, self._off = rules.thresholds_of(labels)
        self._background = rules.indices("background", labels)
        self._held = rules.indices("held", labels)
        self._ignored = sorted(rules.indices("ignored", labels))
        self._cool_s = dict[int, float]()  # class -> when it may start again
        self.reset()

    def reset(self) -> None:
        """Forget the past answers, without an event; cool-downs stay."""
        self._smoother = _Smoother(self._rules)
        self._action: _Action | None = None
        self._pending: _Pending | None = None
        self._settled = self._rules.settle_answers
        self._last_s: float | None = None

    def update(self, prediction: Prediction, *, time_s: float | None = None) -> Decision:
        """Take the next answer of the source.

        Args:
            prediction: its logits are smoothed; its window's end is the time.
            time_s: the time, for a prediction without a window.

        Raises:
            InputError: no time, or a prediction with other labels.
        """
        now_s = _time_of(prediction, time_s)
        if prediction.labels != self._labels:
            raise InputError("the prediction has other labels than the decider was made for")
        events = self._break(now_s)
        scores = self._scores(self._smoother.add(prediction.logits, now_s))
        return self._decided(scores, now_s, events)

    def update_scores(self, scores: Logits, time_s: float) -> Decision:
        """Take the smoothed scores of the next answer instead, where they are known."""
        return self._decided(scores, time_s, self._break(time_s))

    def _decided(self, scores: Logits, now_s: float, events: list[Event]) -> Decision:
        self._last_s = now_s
        events += self._step(scores, now_s)
        return self._decision(scores, tuple(events))

    def finish(self) -> tuple[Event, ...]:
        """Return the end of the action that was on, when the source is over, and start afresh."""
        events = [] if self._last_s is None else self._end(self._last_s)
        self.reset()
        return tuple(events)

    def _break(self, now_s: float) -> list[Event]:
        """After a gap, or when time runs backwards, what was on is over and nothing is averaged."""
        if self._last_s is None or 0 <= now_s - self._last_s <= self._rules.gap_s:
            return []
        is_back = now_s < self._last_s
        events = list(self.finish())
        if is_back:
            self._cool_s.clear()
        return events

    def _decision(self, scores: Logits, events: tuple[Event, ...]) -> Decision:
        return Decision(self._labels, self._on_now(), scores, events)

    def _scores(self, logits: Logits) -> Logits:
        logits = logits.copy()
        logits[self._ignored] = -np.inf
        return probabilities(logits, self.activation)

    def _step(self, scores: Logits, now_s: float) -> list[Event]:
        """Move on by one answer: stay, end the action, or start another."""
        current, wanted = self._on_now(), self._wanted(scores)
        if self._action is not None:
            self._action.peak = max(self._action.peak, float(scores[self._action.index]))
        if wanted == current or self._settled < self._rules.settle_answers:
            self._settled += 1
            self._pending = None
            return []
        if wanted is None:
            self._pending = None
            return self._end(now_s)
        if self._is_ripe(wanted, now_s):
            return self._end(now_s) + self._start(wanted, float(scores[wanted]), now_s)
        return [] if current is None or scores[current] >= self._off[current] else self._end(now_s)

    def _wanted(self, scores: Logits) -> int | None:
        """Return the class this answer speaks for, None for background or nothing."""
        current, best = self._on_now(), int(scores.argmax())
        if best in self._held:
            return current
        if scores[best] >= self._on[best]:
            return None if best in self._background else best
        keeps = current is not None and scores[current] >= self._off[current]
        return current if keeps else None

    def _is_ripe(self, wanted: int, now_s: float) -> bool:
        """Return whether a class has been wanted long enough, its cool-down not counted."""
        if now_s < self._cool_s.get(wanted, -math.inf):
            self._pending = None
            return False
        if self._pending is None or self._pending.index != wanted:
            self._pending = _Pending(wanted, now_s)
        return now_s - self._pending.since_s >= self._rules.min_duration_s

    def _start(self, index: int, score: float, now_s: float) -> list[Event]:
        start_s = self._pending.since_s if self._pending else now_s
        self._pending, self._settled = None, 1
        self._action = _Action(index, start_s, score)
        return [Event("start", index, self._labels[index], start_s, now_s, score)]

    def _end(self, now_s: float) -> list[Event]:
        action = self._action
        if action is None:
            return []
        self._action, self._settled = None, 1
        self._cool_s[action.index] = now_s + self._rules.cool_down_s
        label = self._labels[action.index]
        return [Event("end", action.index, label, action.start_s, now_s, action.peak)]

    def _on_now(self) -> int | None:
        return self._action.index if self._action else None


@dataclass
class _Track:
    """One class that is on or off by itself."""

    start_s: float | None = None
    peak: float = 0.0
    pending_s: float | None = None
    settled: int = 0


class IndependentDecider(Decider):
    """The same for answers in which each class has a probability of its own.

    Every class starts and ends by itself, by the thresholds, durations and cool-down of the rules;
    several may be on at once. A background class of high score ends all, and lets none start;
    ignored and held classes never start, and hold nothing.

    >>> labels = ("walk", "wave")
    >>> decider = IndependentDecider(Rules(on=0.6, off=0.4), labels)
    >>> logits = np.array([2.0, 2.0], np.float32)
    >>> answer = Prediction(labels, logits, probabilities(logits, "sigmoid"), 5.0)
    >>> [event.label for event in decider.update(answer, time_s=0.0).events]
    ['walk', 'wave']
    """

    activation: ClassVar[Activation] = "sigmoid"

    def reset(self) -> None:
        """Forget the past answers, without an event; cool-downs stay."""
        super().reset()
        free = set(range(len(self._labels))) - set(self._ignored) - self._held - self._background
        settled = self._rules.settle_answers
        self._tracks = {i: _Track(settled=settled) for i in sorted(free)}

    def finish(self) -> tuple[Event, ...]:
        """Return the ends of all actions that are on, when the source is over, and start afresh."""
        on = [i for i, track in self._tracks.items() if track.start_s is not None]
        now_s = self._last_s
        events = () if now_s is None else tuple(self._end_of(i, now_s) for i in on)
        self.reset()
        return events

    def _decision(self, scores: Logits, events: tuple[Event, ...]) -> Decision:
        on = [i for i, track in self._tracks.items() if track.start_s is not None]
        best = max(on, key=lambda i: float(scores[i]), default=None)
        return Decision(self._labels, best, scores, events, tuple(on))

    def _step(self, scores: Logits, now_s: float) -> list[Event]:
        """Move every class on by one answer."""
        quiet = any(scores[i] >= self._on[i] for i in self._background)
        events = (self._step_of(i, scores, now_s, may_be_on=not quiet) for i in self._tracks)
        return [event for event in events if event is not None]

    def _step_of(
        self, index: int, scores: Logits, now_s: float, *, may_be_on: bool
    ) -> Event | None:
        """Return the start or end of one class, if this answer brings it."""
        track, score = self._tracks[index], float(scores[index])
        is_on = track.start_s is not None
        track.peak = max(track.peak, score)
        wanted = may_be_on and scores[index] >= (self._off if is_on else self._on)[index]
        if wanted == is_on or track.settled < self._rules.settle_answers:
            track.settled += 1
            track.pending_s = None
            return None
        if is_on:
            return self._end_of(index, now_s)
        return self._start_of(index, score, now_s)

    def _start_of(self, index: int, score: float, now_s: float) -> Event | None:
        """Return the start of a class that has been wanted long enough, its cool-down over."""
        track = self._tracks[index]
        if now_s < self._cool_s.get(index, -math.inf):
            track.pending_s = None
            return None
        start_s = now_s if track.pending_s is None else track.pending_s
        track.pending_s = start_s
        if now_s - start_s < self._rules.min_duration_s:
            return None
        self._tracks[index] = _Track(start_s=start_s, peak=score, settled=1)
        return Event("start", index, self._labels[index], start_s, now_s, score)

    def _end_of(self, index: int, now_s: float) -> Event:
        track = self._tracks[index]
        start_s = now_s if track.start_s is None else track.start_s
        self._tracks[index] = _Track(settled=1)
        self._cool_s[index] = now_s + self._rules.cool_down_s
        return Event("end", index, self._labels[index], start_s, now_s, track.peak)


DECIDERS: dict[Activation, type[Decider]] = {
    kind.activation: kind for kind in (Decider, IndependentDecider)
}


class _Smoother:
    """The mean of the last n logits, or an exponential mean over seconds."""

    def __init__(self, rules: Rules) -> None:
        self._last: deque[Logits] = deque(maxlen=rules.mean_answers)
        self._decay_s = rules.decay_s
        self._mean: Logits | None = None
        self._time_s = 0.0

    def add(self, logits: Logits, now_s: float) -> Logits:
        """Return the smoothed logits, (classes,) float32."""
        if self._decay_s > 0:
            return self._decay(logits, now_s)
        self._last.append(logits)
        mean: Logits = np.mean(np.stack(self._last), axis=0, dtype=np.float32)
        return mean

    def _decay(self, logits: Logits, now_s: float) -> Logits:
        if self._mean is None or not np.isfinite(self._mean).all():  # one NaN would stay for ever
            self._mean = logits
        share = np.float32(1 - math.exp(-(now_s - self._time_s) / self._decay_s))
        self._mean = self._mean + share * (logits - self._mean)
        self._time_s = now_s
        return self._mean


def _time_of(prediction: Prediction, time_s: float | None) -> float:
    if time_s is not None:
        return time_s
    if prediction.window is None:
        raise InputError("a prediction without a window needs time_s")
    return prediction.window.end_s
