"""Looks after a run: ends it in time, logs its figures, notifies the service manager."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_tsm.datatypes import Counts, SourceState
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.service.counted import RunCounts
from edge_tsm.service.stats import Stats
from edge_tsm.service.systemd import ServiceNotifier
from edge_tsm.sources.names import describe_source
from edge_tsm.system.clock import Clock

GLANCE_S = 0.2
TURNED_S = 1.0
STATUS_S = 10.0  # the manager's queue is short, and needed for the watchdog
PATIENCE = 3.0  # windows without an answer, before a warning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """When a run ends, and how often its figures are logged; `stopped` ends it when set."""

    duration_s: float = math.inf
    stats_s: float = math.inf
    stopped: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """A thread that closes `pipeline` when the `watch` says so, and logs what was `counted`.

    A source whose frames never fill a window is warned about once, after a while or at the end.
    Use it in a `with` block, which ends it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        counted: Callable[[], RunCounts],
        watch: Watch,
        *,
        clock: Clock,
    ) -> None:
        self._pipeline, self._counted = pipeline, counted
        self._stats = Stats(counted, clock.now())
        self._notifier = ServiceNotifier.from_environment()
        self._clock, self._changed, self._done = clock, clock.condition(), False
        self._watch, self._end_s = watch, clock.now() + watch.duration_s
        self._logged_s, self._stated_s = clock.now(), -math.inf
        self._is_first = True
        self._states: list[tuple[str, SourceState]] = []
        self._silent_s = clock.now() + PATIENCE * pipeline.window_s

    def __enter__(self) -> Supervisor:
        self._clock.start(self._run, name="edge-tsm supervisor")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._done = True
            self._changed.notify_all()
        self._notifier.stopping()
        self._tell_first()
        counts = self._counted().sources
        if kind is None and self._silent_s < math.inf and not any(c.answers for c in counts):
            self._warn_silent()

    def _tell_first(self) -> None:
        """Say once, if figures are logged, how long the first answer took to come."""
        if self._watch.stats_s == math.inf or not self._is_first:
            return
        if (first_s := self._counted().first_answer_s) is None:
            return
        with self._changed:  # the thread and the end of the run both come here
            is_first, self._is_first = self._is_first, False
        if is_first:
            log.info("first answer %.2f s after the process began", first_s)

    def log_figures(self) -> None:
        """Log the figures since the last time."""
        report = self._stats.report(self._clock.now())
        for line in report.lines():
            log.info("%s", line)

    def _warn_silent(self) -> None:
        """Name the sources that gave frames and got no answer."""
        self._silent_s = math.inf
        for counts in self._counted().sources:
            if counts.frames and not counts.answers:
                log.warning(
                    "%s: no answer, as %d frames did not fill a window of %g s without a hole; "
                    "see --window",
                    describe_source(counts.source, counts.address),
                    counts.frames,
                    self._pipeline.window_s,
                )

    def _run(self) -> None:
        while self._wait():
            now_s = self._clock.now()
            self._notify(now_s)
            if now_s >= self._silent_s:
                self._warn_silent()
            self._tell_first()
            if now_s - self._logged_s >= self._watch.stats_s:
                self._logged_s = now_s
                self.log_figures()
            if now_s >= self._end_s or self._watch.stopped.is_set():
                self._pipeline.close()
                return

    def _notify(self, now_s: float) -> None:
        """Tell the service manager that the run turns, if it did since the last glance but one.

        The loop is asked to turn in any case: others look at its last turn.
        """
        turned_s = self._pipeline.heartbeat()
        if not self._notifier.is_notified:
            return
        if now_s - turned_s <= TURNED_S:
            self._notifier.alive(now_s)
        counts = self._pipeline.counts()
        states = [(c.source, c.state) for c in counts]
        if states != self._states or now_s - self._stated_s >= STATUS_S:
            self._states, self._stated_s = states, now_s
            self._notifier.status(describe_states(counts))

    def _wait(self) -> bool:
        """Wait until there may be something to do; False at the end of the run."""
        now_s = self._clock.now()
        next_s = min(self._end_s, self._logged_s + self._watch.stats_s, now_s + GLANCE_S)
        with self._changed:
            if not self._done:
                self._changed.wait(next_s - now_s)
            return not self._done


def describe_states(counts: Sequence[Counts]) -> str:
    """Return in a line how many sources are live, and what is wrong with the others.

    >>> from edge_tsm.datatypes import Counts
    >>> hall = Counts("hall", "live", frames=9, dropped=0, answers=2, skipped=0, breaks=0)
    >>> porch = Counts("porch", "lost", 9, 0, 2, 0, 1, state_s=12.4)
    >>> describe_states([hall, porch])
    '1 of 2 live: porch lost 12 s'
    """
    troubled = [f"{c.source} {c.state} {c.state_s:.0f} s" for c in counts if c.state != "live"]
    live = f"{len(counts) - len(troubled)} of {len(counts)} live"
    return f"{live}: {', '.join(troubled)}" if troubled else live
