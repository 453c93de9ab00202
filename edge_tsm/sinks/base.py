"""What a sink is. Own ones need no base class: these methods are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge_tsm.datatypes import Frame, Prediction, StateChange


@dataclass(frozen=True)
class RouteCounts:
    """What became of the items for one sink.

    They were delivered, dropped (queue full or no time), failed, or are `pending` still. Of a sink
    of events only what holds events is counted.
    """

    delivered: int
    dropped: int
    failed: int
    pending: int = 0


class Sink(Protocol):
    """Takes answers. `Dispatcher` calls it in one thread of its own, which may take its time.

    A `SinkError` or any other `OSError` means that this answer could not be delivered: it is
    counted, and the next one is tried. Any other exception ends the run. A call that returns False
    had nothing to deliver, and is not counted.
    """

    def write(self, prediction: Prediction, source: str) -> object:
        """Deliver one answer; `source` is the id of the source it belongs to."""
        ...

    def close(self) -> None:
        """Finish and release what is held; called once, in the same thread."""
        ...


@runtime_checkable
class FrameSink(Sink, Protocol):
    """A sink that wants the pictures of a live source too."""

    def frame(self, frame: Frame, source: str) -> object:
        """Take one picture; its array is shared with others and must not be changed."""
        ...


@runtime_checkable
class StateSink(Sink, Protocol):
    """A sink that wants to know when a live source is lost, back, silent, frozen or black."""

    def state(self, change: StateChange) -> None:
        """Take one change of a source's state."""
        ...


@runtime_checkable
class Liftable(Protocol):
    """A sink that draws lines which messages of others would spoil."""

    def lift(self) -> None:
        """Make room for someone else's message; called from any thread."""
        ...


@runtime_checkable
class Cancellable(Protocol):
    """A sink that waits, for instance to try again, and can be asked to give up."""

    def cancel(self) -> None:
        """End every wait, now and later; called from another thread."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A sink that knows better than its caller what was delivered."""

    def counts(self) -> RouteCounts:
        """Return what became of its items so far; called from any thread."""
        ...
