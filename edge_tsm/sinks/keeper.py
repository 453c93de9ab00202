"""Events kept in the event file."""

from __future__ import annotations

from pathlib import Path

from edge_tsm.datatypes import Prediction, StateChange
from edge_tsm.errors import SinkError
from edge_tsm.events import EventStore
from edge_tsm.sinks import SinkContext


class EventKeeper:
    """Brings events to a store, which others read and deliver them from.

    Args:
        store: where they go.
        owned: close the store at the end.
        essential: an event that is not in the file is an error.
    """

    def __init__(self, store: EventStore, *, owned: bool = False, essential: bool = False) -> None:
        self._store, self._owned, self._essential = store, owned, essential

    def write(self, prediction: Prediction, source: str) -> None:
        """Keep the events of an answer.

        Raises:
            SinkError: the file cannot be written, and it is essential.
        """
        stored = [self._store.add(event) for event in prediction.events]
        if self._essential and not all(stored):
            raise SinkError("an event could not be written to the event file")

    def state(self, change: StateChange) -> None:
        """Keep a change of a source's state.

        Raises:
            SinkError: as of `write`.
        """
        if not self._store.tell(change) and self._essential:
            raise SinkError("a change of state could not be written to the event file")

    def close(self) -> None:
        """Close the store, if it is the sink's own."""
        if self._owned:
            self._store.close()


def open_keeper(value: str, context: SinkContext) -> EventKeeper:
    """Open the sink `events` of a file; of the run's own one, where it has one."""
    store = context.store or EventStore(Path(value), clock=context.clock)
    return EventKeeper(store, owned=context.store is None, essential=context.essential)
