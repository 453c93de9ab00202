"""Which clips the engine answers next: the live sources of a pipeline, in turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_tsm.datatypes import Counts
from edge_tsm.errors import InputError
from edge_tsm.live.worker import PendingClip, SourceWorker
from edge_tsm.system.clock import Clock, Condition

Batch = list[tuple[SourceWorker, PendingClip]]
LINGER_S = 0.1
LATE_S = 0.5  # an answer may come that much later than the last one's distance


@dataclass(frozen=True, eq=False)
class Turn:
    """What is to be done next: a batch to answer, sources to finish with."""

    batch: Batch = field(default_factory=list)
    quiet: tuple[str, ...] = ()  # no answer for so long that what was on is over
    removed: tuple[SourceWorker, ...] = ()


class Scheduler:
    """The workers of a pipeline; those that waited longest are served first.

    Args:
        changed: guards the workers, and is notified of whatever may matter here.
        clock: its time.
        fill: clips that are worth waiting for a little, to be answered together.
        most: clips that are answered at a time.
        period_s: seconds between two clips of a source.
        gap_s: seconds without an answer after which a source is quiet; infinite without actions.
    """

    def __init__(
        self,
        changed: Condition,
        clock: Clock,
        *,
        fill: int,
        most: int,
        period_s: float,
        gap_s: float,
    ) -> None:
        self.workers: list[SourceWorker] = []
        self._changed, self._clock = changed, clock
        self._fill, self._most, self._period_s, self._gap_s = fill, most, period_s, gap_s
        self._closing, self._turn, self._turned_s = False, 0, clock.now()
        self._answered_s: dict[str, float] = {}
        self._removed: list[SourceWorker] = []
        self._waits_for_more = self._delivered = False

    def add(self, worker: SourceWorker) -> None:
        """Start a worker, and serve it from now on; with `changed` held."""
        self.workers.append(worker)
        worker.start()
        self._changed.notify_all()

    def remove(self, name: str) -> SourceWorker:
        """Serve a worker no more, and return it; with `changed` held."""
        worker = next((worker for worker in self.workers if worker.name == name), None)
        if worker is None:
            names = ", ".join(worker.name for worker in self.workers) or "none"
            raise InputError(f"no source is called {name!r}; there are: {names}")
        self.workers.remove(worker)
        self._removed.append(worker)
        self._waits_for_more = not self.workers
        self._changed.notify_all()
        return worker

    def close(self) -> None:
        """Let the next turn be the last one; with `changed` held."""
        self._closing = True
        self._changed.notify_all()

    def counts(self) -> list[Counts]:
        """Return what became of each source so far."""
        with self._changed:
            return [worker.counts() for worker in self.workers]

    def heartbeat(self) -> float:
        """Ask for a turn, and return the clock's time of the last one."""
        with self._changed:
            self._changed.notify_all()
            return self._turned_s

    def answered(self, worker: SourceWorker, now_s: float) -> None:
        """Note that an answer of the source was given."""
        worker.answers += 1
        if self._gap_s < math.inf:
            self._answered_s[worker.name] = now_s

    def next(self, required: str) -> Turn | None:
        """Wait until there is something to do; None at the end.

        Raises:
            Exception: what ended a worker, or why none of the sources can be opened.
        """
        with self._changed:
            while not self._closing:
                self._turned_s = self._clock.now()
                self._raise_errors(required)
                if (turn := self._without_clips()) is not None:
                    return turn
                ready = [worker for worker in self.workers if worker.pending]
                if not ready and self._is_over():
                    return None
                left_s = self._left_s(ready)
                if ready and left_s <= 0:
                    return Turn(batch=self._take(ready))
                self._wait(left_s if ready else math.inf)
        return None

    def _wait(self, most_s: float) -> None:
        now_s = self._clock.now()
        quiet_s = min((s - now_s for s in self._quiet_at().values()), default=math.inf)
        left_s = min(most_s, quiet_s)
        self._changed.wait(None if left_s == math.inf else left_s)

    def _is_over(self) -> bool:
        return all(worker.ended for worker in self.workers) and not self._waits_for_more

    def _raise_errors(self, required: str) -> None:
        for worker in self.workers:
            if worker.error is not None:
                raise worker.error
        self._delivered = self._delivered or any(worker.delivered for worker in self.workers)
        failures = [worker.failure for worker in self.workers]
        if required == "any" and not self._delivered and failures and all(failures):
            raise failures[0] or AssertionError

    def _without_clips(self) -> Turn | None:
        """Return what is to be done beside answering, None for nothing."""
        removed, self._removed = tuple(self._removed), []
        gone = [worker.name for worker in removed]
        now_s = self._clock.now()
        gone += [name for name, due_s in self._quiet_at().items() if due_s <= now_s]
        for name in gone:
            self._answered_s.pop(name, None)
        return Turn(quiet=tuple(gone), removed=removed) if gone else None

    def _quiet_at(self) -> dict[str, float]:
        """Return when each source that gives no answers counts as quiet."""
        busy = {worker.name for worker in self.workers if worker.pending}
        quiet = ((name, s) for name, s in self._answered_s.items() if name not in busy)
        return {name: answered_s + self._gap_s + LATE_S for name, answered_s in quiet}

    def _left_s(self, ready: Sequence[SourceWorker]) -> float:
        """Return how long to wait for more clips, with a batch to fill.

        A graph that takes any number has none to fill: what is ready goes at once, and what comes
        meanwhile goes together after that, so that batches grow with the load.
        """
        alive = sum(not worker.ended or worker.pending is not None for worker in self.workers)
        if not ready or len(ready) >= min(self._fill, alive):
            return 0.0
        first_s = min(worker.pending.ready_s for worker in ready if worker.pending)
        # Half of the time in which every source has one more clip.
        linger_s = min(LINGER_S, self._period_s / 2)
        return first_s + linger_s - self._clock.now()

    def _take(self, ready: list[SourceWorker]) -> Batch:
        self._turn += 1
        ready.sort(key=lambda worker: worker.turn)
        return [(worker, worker.take(self._turn)) for worker in ready[: self._most]]
