"""What an event gets from outside the frames, at the moment it is decided: an id, times of day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

from edge_tsm.datatypes import Event, Prediction
from edge_tsm.system.clock import Clock

OLD_S = 60.0


class Stamp:
    """Stamps the events of one source, in order.

    A start gets a new id and its times of day; its end gets the same ones, so that one action is
    one record even where the time of day is set in between.
    """

    def __init__(self, source: str | None, *, clock: Clock, new_id: Callable[[], str]) -> None:
        self._source, self._clock, self._new_id = source, clock, new_id
        self._shift_s: float | None = None
        self._open = dict[int, Event]()  # by class: several may be on

    def see(self, prediction: Prediction) -> None:
        """Learn from a live answer how the source's time relates to the clock's."""
        self._shift_s = shift_of(prediction, self._clock)

    def __call__(self, event: Event) -> Event:
        """Return the event as it is to be kept and sent."""
        decided_utc = self._clock.utc(self._clock.now()) or datetime.now(timezone.utc)
        stamped = replace(event, source=self._source, decided_utc=decided_utc)
        if event.kind == "start":
            start = replace(stamped, id=self._new_id(), start_utc=self._utc(event.start_s))
            self._open[event.index] = start
            return start
        start = self._open.pop(event.index, replace(stamped, id=""))
        start = start if start.id else replace(start, id=self._new_id())
        end_utc = self._utc(event.told_s)
        return replace(stamped, id=start.id, start_utc=start.start_utc, end_utc=end_utc)

    def _utc(self, time_s: float) -> datetime | None:
        return None if self._shift_s is None else self._clock.utc(time_s + self._shift_s)


def shift_of(prediction: Prediction, clock: Clock) -> float | None:
    """Return the seconds from a live answer's time to the clock's; None of a recording."""
    if prediction.delay is None or prediction.window is None:
        return None
    now_s, end_s = clock.now(), prediction.window.end_s
    # A custom source may count time unlike the clock: the delay says when its frame came.
    comparable = 0 <= now_s - end_s < OLD_S
    return 0.0 if comparable else now_s - prediction.delay.latency_ms / 1000 - end_s


def utc_of(prediction: Prediction, clock: Clock) -> datetime | None:
    """Return the time of day of a live answer's newest frame; None where nobody knows."""
    shift_s = shift_of(prediction, clock)
    if shift_s is None or prediction.window is None:
        return None
    return clock.utc(prediction.window.end_s + shift_s)
