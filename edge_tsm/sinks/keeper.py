"""Events kept in the event file, and the logits that they were decided by."""

from __future__ import annotations

from pathlib import Path

from edge_tsm.actions.stamp import utc_of
from edge_tsm.datatypes import Logits, Prediction, StateChange
from edge_tsm.errors import InputError, SinkError
from edge_tsm.events import EventStore
from edge_tsm.events.logits import LogitLimits, LogitLog, StoredAnswer
from edge_tsm.sinks import SinkContext
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock

MOST_HOURS = 24 * 7
MEMORY_BYTES = 16 * 1024 * 1024  # where there is no event file


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


class LogitKeeper:
    """Keeps the logits of live answers for some hours, for rules to be tried on.

    Args:
        log: where they go.
        limits: how many.
        clock: says what time of day their times are of.
    """

    def __init__(self, log: LogitLog, limits: LogitLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._log, self._limits, self._clock = log, limits, clock
        self._newest: dict[str, Logits] = {}

    def write(self, prediction: Prediction, source: str) -> bool:
        """Keep an answer that is decided; a source that ends brings its last one again.

        Raises:
            SinkError: the file cannot be written.
        """
        window = prediction.window
        again = self._newest.get(source) is prediction.logits
        if window is None or prediction.decision is None or again:
            return False
        self._newest[source] = prediction.logits
        if not self._log.is_begun:
            self._log.begin(prediction.labels, prediction.activation, limits=self._limits)
        utc = utc_of(prediction, self._clock)
        utc_s = utc.timestamp() if utc else None
        self._log.add(StoredAnswer(source, window.end_s, utc_s, prediction.logits))
        return True

    def close(self) -> None:
        """Write what waits in memory.

        Raises:
            SinkError: the file cannot be written.
        """
        self._log.flush()


def open_logits(value: str, context: SinkContext) -> LogitKeeper:
    """Open the sink `logits`, of the run's events, for so many hours."""
    if context.store is None:
        raise SinkError("logits are kept beside the events of a run; there is no store of them")
    try:
        hours = float(value or LogitLimits.most_age_s / 3600)
    except ValueError as error:
        raise InputError(f"logits: {value!r} is no number of hours") from error
    if not 0 < hours <= MOST_HOURS:
        raise InputError(f"logits: {value} hours; it must be more than 0 and at most {MOST_HOURS}")
    most_bytes = LogitLimits.most_bytes if context.store.lasts else MEMORY_BYTES
    return LogitKeeper(context.store.logits, LogitLimits(hours * 3600, most_bytes), context.clock)
