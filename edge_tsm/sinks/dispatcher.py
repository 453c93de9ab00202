"""Answers to several sinks at once, so that none of them stalls inference.

Each sink has a thread and a bounded queue. When a queue is full, the least important item goes and
is counted: first the oldest picture, then the oldest answer, and answers with events last.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_tsm.datatypes import Frame, Prediction, StateChange
from edge_tsm.sinks.base import (
    Cancellable,
    Counted,
    FrameSink,
    Liftable,
    RouteCounts,
    Sink,
    StateSink,
)
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, Handover

FLUSH_S = 5.0
HURRIED_FLUSH_S = 0.6  # together with the grace: Ctrl-C ends everything within a second
GRACE_S = 0.2
ANSWERS = 64
FRAMES = 8  # pictures are large
PICTURE, ANSWER, EVENT = range(3)  # what is dropped first

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """A sink under a name.

    Errors of an `essential` one end the run; others are counted. A `lossless` one is waited for
    when its queue is full. One of `events_only` gets no answers without a start or an end. One
    that is `last` is closed after the others, as it tells what these add while they close.

    >>> from edge_tsm.sinks.callback import Callback
    >>> Route("answers", Callback(print)).essential
    False
    """

    name: str
    sink: Sink
    essential: bool = False
    lossless: bool = False
    events_only: bool = False
    last: bool = False


class Dispatcher:
    """Hand it answers with `write` and pictures with `frame`; neither waits for a sink.

    Args:
        routes: the sinks; each belongs to the dispatcher from now on, which closes it.
        lossless: `write` waits for room instead of dropping: a recording is in no hurry.
        clock: what the deadline of `close` is measured with.

    >>> import io, edge_tsm, edge_tsm.demo
    >>> from edge_tsm.demo.synthetic import generate
    >>> from edge_tsm.sinks.jsonlines import JsonLines
    >>> answer = edge_tsm.load(edge_tsm.demo.bundle())(list(generate(0)))
    >>> stream = io.StringIO()
    >>> with Dispatcher([Route("log", JsonLines(stream))]) as dispatcher:
    ...     dispatcher.write(answer, "door")
    >>> dispatcher.counts()
    {'log': RouteCounts(delivered=1, dropped=0, failed=0, pending=0)}
    """

    def __init__(
        self, routes: Iterable[Route], *, lossless: bool = False, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._clock = clock
        self._workers = [
            _Worker(route, lossless=lossless or route.lossless, clock=clock) for route in routes
        ]

    def write(self, prediction: Prediction, source: str | None = None) -> None:
        """Queue one answer for every sink, under its own source or the one named.

        Raises:
            Exception: what an essential sink raised, or any that is not an OSError, once.
        """
        self._raise_handed_over()
        name = source if source is not None else prediction.source or ""
        rank = EVENT if prediction.events else ANSWER
        for worker in self._workers:
            if worker.events_only and not prediction.events:
                continue
            worker.put(_Item(rank, lambda sink: sink.write(prediction, name)))

    def frame(self, frame: Frame, source: str) -> None:
        """Queue one picture for the sinks that want pictures; to be called from any thread."""
        for worker in self._workers:
            if isinstance(worker.sink, FrameSink):
                worker.put(_Item(PICTURE, lambda sink: sink.frame(frame, source)))  # type: ignore[attr-defined]

    def state(self, change: StateChange) -> None:
        """Queue a change of a source's state for the sinks that want those, from any thread."""
        for worker in self._workers:
            if isinstance(worker.sink, StateSink):
                worker.put(_Item(EVENT, lambda sink: sink.state(change)))  # type: ignore[attr-defined]

    def lift(self) -> None:
        """Let sinks that draw on a terminal make room for a message."""
        for worker in self._workers:
            if isinstance(worker.sink, Liftable):
                worker.sink.lift()

    def counts(self) -> dict[str, RouteCounts]:
        """Return the counts so far, by the sink's name."""
        return {worker.name: worker.counts() for worker in self._workers}

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Deliver what is queued, for at most `timeout_s` together, then close the sinks.

        What has no time is dropped and counted; a sink that hangs is left behind.

        Raises:
            Exception: as `write` does.
        """
        self._close(timeout_s)
        self._raise_handed_over()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # a service that is told to stop has time to deliver; who presses Ctrl-C has not
            self._close(FLUSH_S if issubclass(kind, SystemExit) else HURRIED_FLUSH_S)

    def _close(self, timeout_s: float) -> None:
        until_s = self._clock.now() + timeout_s
        for is_last in (False, True):
            workers = [worker for worker in self._workers if worker.is_last is is_last]
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.wait(until_s)
        for worker in self._workers:
            worker.abandon()
        for worker in self._workers:
            worker.wait(max(until_s, self._clock.now()) + GRACE_S)

    def _raise_handed_over(self) -> None:
        for worker in self._workers:
            error = worker.take_error()
            if error is not None:
                raise error


@dataclass(frozen=True, eq=False)
class _Item:
    """One call of a sink; what has the lowest rank is dropped first."""

    rank: int
    give: Callable[[Sink], object]


class _Worker:
    """The queue and the thread of one sink; whoever made it gets the thread's exception."""

    def __init__(self, route: Route, *, lossless: bool, clock: Clock) -> None:
        self.name, self.sink = route.name, route.sink
        self._essential, self._lossless = route.essential, lossless
        self.events_only, self.is_last = route.events_only, route.last
        self._size = FRAMES if isinstance(route.sink, FrameSink) else ANSWERS
        self._clock, self._changed = clock, clock.condition()
        self._items = deque[_Item]()
        self._stopping = self._ended = self._failing = False
        self._error: BaseException | None = None
        self._delivered = self._dropped = self._failed = self._series = 0
        clock.start(self._work, name=f"edge-tsm {route.name}")

    def put(self, item: _Item) -> None:
        """Queue an item, making room; counted as dropped once the worker stops."""
        with self._changed:
            while self._lossless and len(self._items) >= self._size and not self._ended:
                self._changed.wait()
            if self._stopping or self._ended:
                self._drop([item])
                return
            self._items.append(item)
            if len(self._items) > self._size:
                least = min(self._items, key=lambda queued: queued.rank)
                self._items.remove(least)
                self._drop([least])
            self._changed.notify_all()

    def _drop(self, items: Iterable[_Item]) -> None:
        """Count what is lost; a picture that no event needed is no loss."""
        self._dropped += sum(item.rank == EVENT or not self.events_only for item in items)

    def counts(self) -> RouteCounts:
        if isinstance(self.sink, Counted):
            return self.sink.counts()
        with self._changed:
            return RouteCounts(self._delivered, self._dropped, self._failed)

    def take_error(self) -> BaseException | None:
        with self._changed:
            error, self._error = self._error, None
            return error

    def stop(self) -> None:
        """Let the thread end when the queue is empty."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait(self, until_s: float) -> None:
        """Wait until the thread has ended, or until a time."""
        with self._changed:
            while not self._ended and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(left_s)

    def abandon(self) -> None:
        """Drop what is still queued and end the sink's own waits."""
        with self._changed:
            if self._ended:
                return
            self._drop(self._items)
            left = len(self._items)
            self._items.clear()
        if left or not isinstance(self.sink, Counted):
            _log.warning("%s: does not end; what it still had is dropped", self.name)
        if isinstance(self.sink, Cancellable):
            self.sink.cancel()

    def _work(self) -> None:
        with Handover(self._end):
            try:
                while (item := self._take()) is not None:
                    self._deliver(item)
            finally:
                self.sink.close()

    def _take(self) -> _Item | None:
        with self._changed:
            while not self._items:
                if self._stopping:
                    return None
                self._changed.wait()
            item = self._items.popleft()
            self._changed.notify_all()  # there is room
            return item

    def _deliver(self, item: _Item) -> None:
        try:
            has_delivered = item.give(self.sink) is not False
        except OSError as error:  # SinkError is one
            if self._essential:
                raise
            self._count_failure(error)
        else:
            if has_delivered:
                self._count_success()

    def _count_failure(self, error: OSError) -> None:
        """Log the first failure of a series only: an outage may last for days."""
        with self._changed:
            self._failed += 1
            self._series += 1
        if not self._failing:
            _log.warning("%s: %s", self.name, error)
        self._failing = True

    def _count_success(self) -> None:
        with self._changed:
            self._delivered += 1
        if self._failing:
            _log.warning("%s: delivers again, after %d failures", self.name, self._series)
        self._failing, self._series = False, 0

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            if isinstance(error, OSError) and not self._essential:
                self._failed += 1
                _log.warning("%s: %s", self.name, error)
                error = None
            self._error, self._ended = error, True
            self._drop(self._items)
            self._items.clear()
            self._changed.notify_all()
