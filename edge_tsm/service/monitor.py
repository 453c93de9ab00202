"""A run as seen from outside: its figures, its health, and the switch of each source."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_tsm.datatypes import Counts, Prediction, StateChange
from edge_tsm.errors import InputError
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.counted import AnswerTimes, Histogram, RunCounts
from edge_tsm.service.stats import Stats
from edge_tsm.sinks.dispatcher import Dispatcher
from edge_tsm.sinks.run import OnEnabled, RunFacts
from edge_tsm.sources import Source
from edge_tsm.system.clock import Clock
from edge_tsm.system.machine import process_age_s

KEPT = 1000  # newest answers whose times are kept
SHORTEST_S = 10.0  # without an answer, until a source counts as late
PERIODS = 3.0
ALIVE_S = 60.0  # as long as the watchdog of examples/edge-tsm.service
_SUMMED = ("frames", "dropped", "answers", "skipped", "breaks")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """Whether a run lives and is ready, and what is wrong with it: source to words."""

    alive: bool
    ready: bool
    troubles: Mapping[str, str]


class Monitor:
    """Watches a run and switches its sources, for any thread; a `Run` that sinks can be given.

    Args:
        facts: what does not change.
        given: every source, with its id; live ones can be switched.
        clock: of the run.
        reopen: opens a source of that id once more, when it is enabled again.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        facts: RunFacts,
        given: Iterable[SourceInput],
        clock: Clock,
        reopen: Callable[[str], Source],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.facts = facts
        self._clock, self._reopen, self._wall = clock, reopen, wall
        self._lock = threading.RLock()
        self._listeners: list[OnEnabled] = []
        self._given = {one.name or "": one for one in given if one.source.live}
        self._turns = dict.fromkeys(self._given, 0)  # how often each was opened before
        self._enabled = dict.fromkeys(self._given, True)
        self._before: dict[str, Counts] = {}  # of openings before a source was disabled
        self._events: Counter[tuple[str, int]] = Counter()
        self._answered_s: dict[str, float] = {}  # by the clock; when it was enabled, at first
        self._answered_utc_s: dict[str, float] = {}
        self._last: dict[str, object] = {}  # logits of the last answer
        self._inference = Histogram()
        self._latency = {source: Histogram() for source in self._given}
        self._times = deque[AnswerTimes](maxlen=KEPT)
        self._first_s: float | None = None
        self._stats = Stats(self.counted, clock.now())
        self._pipeline: Pipeline | None = None
        self._dispatcher: Dispatcher | None = None

    # --- wiring ---

    def wired(self, given: SourceInput) -> SourceInput:
        """Return a source whose changes of state pass through here.

        Those of an opening before the last one are held back: they come late.
        """
        name = given.name or ""
        if name not in self._given:
            return given
        self._given[name] = given
        turn, on_state = self._turns[name], given.on_state

        def tell(change: StateChange) -> None:
            if on_state is not None and self._turns[name] == turn:
                on_state(change)

        return replace(given, on_state=tell)

    def watch(self, pipeline: Pipeline, dispatcher: Dispatcher) -> None:
        """Begin: both belong to the caller."""
        now_s = self._clock.now()
        with self._lock:
            self._pipeline, self._dispatcher = pipeline, dispatcher
            self._answered_s = dict.fromkeys(self._enabled, now_s)

    def answered(self, prediction: Prediction) -> None:
        """Count an answer; one that comes again, with the end of an action, is counted once."""
        source, delay = prediction.source or "", prediction.delay
        with self._lock:
            self._events.update((source, e.index) for e in prediction.events if e.kind == "start")
            if self._last.get(source) is prediction.logits:
                return
            self._last[source] = prediction.logits
            if not self._times:
                self._first_s = process_age_s()
            self._times.append(AnswerTimes.of(prediction, self._clock.now()))
            self._inference.add(prediction.inference_ms / 1000)
            if delay is not None and source in self._latency:
                self._latency[source].add(delay.latency_ms / 1000)
            self._answered_s[source] = self._clock.now()
            self._answered_utc_s[source] = self._wall()

    # --- the switch ---

    def enabled(self) -> Mapping[str, bool]:
        """Return for each source whether it is to be answered."""
        with self._lock:
            return dict(self._enabled)

    def enable(self, source: str, on: bool) -> None:
        """Take a source in or out while it runs; nothing happens where it is so already.

        Raises:
            InputError: there is none of that name, it cannot be opened a second time, or the run
                is over.
        """
        with self._lock:
            if source not in self._enabled or self._pipeline is None:
                known = ", ".join(self._enabled) or "none"
                raise InputError(f"no source {source!r} can be switched; there are: {known}")
            if self._enabled[source] is on:
                return
            (self._add if on else self._remove)(self._pipeline, source)
            self._enabled[source] = on
        _log.info("%s: %s", source, "enabled" if on else "disabled")
        for listener in list(self._listeners):
            listener(source, on)

    def listen(self, on_enabled: OnEnabled) -> None:
        """Have a function called with (source, enabled) whenever that changes."""
        self._listeners.append(on_enabled)

    def _remove(self, pipeline: Pipeline, source: str) -> None:
        if not getattr(self._given[source].source, "reopens", False):
            raise InputError(f"{source}: cannot be disabled, as it cannot be opened a second time")
        self._before[source] = next(c for c in self._counts() if c.source == source)
        pipeline.remove(source)

    def _add(self, pipeline: Pipeline, source: str) -> None:
        self._turns[source] += 1
        given = replace(self._given[source], source=self._reopen(source))
        pipeline.add(self.wired(given))
        self._answered_s[source] = self._clock.now()

    # --- what is seen ---

    def counts(self) -> list[Counts]:
        """Return the counts of every source over all of its openings, disabled ones too."""
        with self._lock:
            return self._counts()

    def counted(self) -> RunCounts:
        """Return everything that was counted so far."""
        sinks = self._dispatcher.counts() if self._dispatcher else {}
        with self._lock:
            return RunCounts(
                tuple(self._counts()),
                sinks,
                dict(self._events),
                dict(self._answered_utc_s),
                replace(self._inference, counts=list(self._inference.counts)),
                {s: replace(h, counts=list(h.counts)) for s, h in self._latency.items()},
                tuple(self._times),
                self._first_s,
            )

    def figures(self) -> Mapping[str, Any]:
        """Return rates, states and delays since the last call, JSON-ready."""
        record = self._stats.report(self._clock.now()).to_json()
        shown = [{k: v for k, v in one.items() if k != "address"} for one in record["sources"]]
        return {**record, "sources": {one.pop("source"): one for one in shown}}

    def health(self) -> Health:
        """Return whether the run lives, and is ready: every enabled source answered in time."""
        if self._pipeline is None:
            return Health(True, False, {"engine": "the run has not begun"})
        now_s = self._clock.now()
        turned_s = now_s - self._pipeline.heartbeat()
        alive = turned_s <= ALIVE_S
        troubles = {} if alive else {"engine": f"has not turned its loop for {turned_s:.0f} s"}
        with self._lock:
            states = {counts.source: counts for counts in self._counts()}
            late = {
                source: now_s - self._answered_s.get(source, now_s)
                for source, on in self._enabled.items()
                if on
            }
            silent = {source: source not in self._answered_utc_s for source in late}
        for source, late_s in late.items():
            if silent[source] or late_s > self.limit_s(source):
                troubles[source] = _trouble(states.get(source), late_s, never=silent[source])
        return Health(alive, not troubles, troubles)

    def limit_s(self, source: str) -> float:
        """Return how long a source may be without an answer and be ready."""
        assert self._pipeline is not None
        pace = self._pipeline.pace_of(source)
        return max(SHORTEST_S, PERIODS * (pace.window_s + pace.every_s))

    def _counts(self) -> list[Counts]:
        current = {c.source: c for c in self._pipeline.counts()} if self._pipeline else {}
        found = []
        for source, on in self._enabled.items():
            before, now = self._before.get(source), current.get(source) if on else None
            address = before.address if before else ""
            none = Counts(source, "opening" if on else "ended", 0, 0, 0, 0, 0, address)
            now, before = now or none, before or none
            sums = {name: getattr(now, name) + getattr(before, name) for name in _SUMMED}
            found.append(replace(now, **sums))
        return found


def _trouble(counts: Counts | None, late_s: float, *, never: bool) -> str:
    if counts is not None and counts.state not in ("live", "opening"):
        return f"{counts.state} for {counts.state_s:.0f} s"
    return "no answer yet" if never else f"no answer for {late_s:.0f} s"
