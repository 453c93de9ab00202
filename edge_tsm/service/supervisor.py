"""Looks after a live run: ends it in time, and tells its figures now and then."""

from __future__ import annotations

import logging
import math

from edge_tsm.cli.outputs import Outputs
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.service.stats import Stats
from edge_tsm.system.clock import Clock

GLANCE_S = 0.2
PATIENCE = 3.0  # windows without an answer, before that is told

log = logging.getLogger(__name__)


class Watchman:
    """A thread that closes `pipeline` after `duration_s`, or when the outputs are stopped.

    Every `stats_s` it logs the figures of `stats`. A source whose frames never fill a window is
    told of once, after a while or at the end. Use it in a `with` block, which ends it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        outputs: Outputs,
        stats: Stats,
        *,
        duration_s: float | None,
        stats_s: float | None,
        clock: Clock,
    ) -> None:
        self._pipeline, self._outputs, self._stats = pipeline, outputs, stats
        self._clock, self._changed, self._done = clock, clock.condition(), False
        self._end_s = clock.now() + (duration_s or math.inf)
        self._stats_s = stats_s or math.inf
        self._told_s = clock.now()
        self._silent_s = clock.now() + PATIENCE * pipeline.window_s

    def __enter__(self) -> Watchman:
        self._clock.start(self._run, name="edge-tsm watchman")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._done = True
            self._changed.notify_all()
        counts = self._pipeline.counts()
        if kind is None and self._silent_s < math.inf and not any(c.answers for c in counts):
            self._tell_silent()

    def tell(self) -> None:
        """Log the figures since the last time."""
        lost = {name: c.dropped + c.failed for name, c in self._outputs.counts().items()}
        report = self._stats.report(self._clock.now(), self._pipeline.counts(), undelivered=lost)
        for line in report.lines():
            log.info("%s", line)

    def _tell_silent(self) -> None:
        """Name the sources that gave frames and got no answer."""
        self._silent_s = math.inf
        for counts in self._pipeline.counts():
            if counts.frames and not counts.answers:
                log.warning(
                    "%s: no answer, as %d frames did not fill a window of %g s without a hole; "
                    "see --window",
                    counts.source,
                    counts.frames,
                    self._pipeline.window_s,
                )

    def _run(self) -> None:
        while self._wait():
            now_s = self._clock.now()
            if now_s >= self._silent_s:
                self._tell_silent()
            if now_s - self._told_s >= self._stats_s:
                self._told_s = now_s
                self.tell()
            if now_s >= self._end_s or self._outputs.stopped.is_set():
                self._pipeline.close()
                return

    def _wait(self) -> bool:
        """Wait until there may be something to do; False at the end of the run."""
        now_s = self._clock.now()
        next_s = min(self._end_s, self._told_s + self._stats_s, now_s + GLANCE_S)
        with self._changed:
            if not self._done:
                self._changed.wait(next_s - now_s)
            return not self._done
