"""Events to a destination that may be away: told from the event store, in order, at least once."""

from __future__ import annotations

import logging
import random
from typing import Protocol

from edge_tsm.datatypes import Prediction, StateChange
from edge_tsm.errors import SinkError
from edge_tsm.events import EventStore, Message
from edge_tsm.sinks.base import RouteCounts
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, Handover

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
OUTAGE = 2  # failed attempts; a single one that the next makes good is not worth a line
RETRY_S, MOST_RETRIED = 3600.0, 100  # of what was refused: someone may have mended a token
LONGEST_ASKED_S = 86_400.0  # what a server may ask for; more is a mistake of its

_log = logging.getLogger(__name__)


class Refused(SinkError):
    """The destination will never take this message; others it may."""


class Unavailable(SinkError):
    """The destination is away or busy; `retry_after_s` is how long it asks to be left alone.

    Where the destination has `told` of it, the outbox does not.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, told: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s, self.told = retry_after_s, told


class Destination(Protocol):
    """Where messages go; called in one thread."""

    def send(self, message: Message) -> None:
        """Deliver one message; return when it was accepted, which takes a limited time.

        Raises:
            Refused, Unavailable: it was not.
        """
        ...

    def cancel(self) -> None:
        """End a `send` that is under way; called from another thread."""
        ...


class Outbox:
    """A sink of events that brings them to `store`, and from there to a destination.

    A message is told again until the destination takes or refuses it, with pauses that double up to
    `LONGEST_PAUSE_S` and are at least as long as the destination asks; what follows waits in the
    store. A refused one is set aside and counted, and tried again with the next start and after
    every `RETRY_S`. An outage, from the second failed
    attempt on, is logged once, and its end.

    Args:
        name: under which the store remembers how far the destination is.
        seed: of the pauses' jitter, which keeps many devices from coming back at once.
        owned: close the store at the end.
    """

    def __init__(
        self,
        destination: Destination,
        store: EventStore,
        *,
        name: str,
        clock: Clock = SYSTEM_CLOCK,
        seed: int | None = None,
        owned: bool = False,
    ) -> None:
        self._destination, self._store, self._name, self._owned = destination, store, name, owned
        self._clock, self._random = clock, random.Random(seed)
        self._retry_s: float | None = None  # when what was refused is tried again
        self._changed = clock.condition()
        self._closing = self._canceled = self._ended = self._hurried = False
        self._failures, self._refusing, self._told = 0, False, False
        self._error: BaseException | None = None
        store.register(name)
        clock.start(self._work, name=f"edge-tsm {name} courier")

    def write(self, prediction: Prediction, source: str) -> None:
        """Keep the events of an answer; they are told from a thread of the outbox.

        Raises:
            Exception: what ended that thread, which is a fault of the destination's code.
        """
        if self._error is not None:
            raise self._error
        for event in prediction.events:
            self._store.add(event)

    def state(self, change: StateChange) -> None:
        """Keep a change of a source's state, to be told as events are."""
        self._store.tell(change)

    def counts(self) -> RouteCounts:
        """Return what became of the messages, since the store's first use of this name."""
        counts = self._store.counts(self._name)
        return RouteCounts(counts.delivered, counts.lost, counts.parked, counts.pending)

    def cancel(self) -> None:
        """Leave what has not been told to the next start; end every wait."""
        with self._changed:
            self._canceled = True
            self._changed.notify_all()
        self._destination.cancel()
        self._store.wake()

    def hurry(self) -> None:
        """End the pause before the next attempt, or leave it out: the destination is back."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def close(self) -> None:
        """Return when everything was told, or after `cancel`."""
        with self._changed:
            self._closing = True
        self._store.wake()
        with self._changed:
            while not self._ended:
                self._changed.wait()
        if pending := self._store.counts(self._name).pending:
            fate = "come with the next start" if self._store.lasts else "are lost: no event file"
            _log.warning("%s: %d messages were not taken yet; they %s", self._name, pending, fate)
        if self._owned:
            self._store.close()

    def _work(self) -> None:
        with Handover(self._end):
            while (message := self._next()) is not None:
                self._deliver(message)

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _next(self) -> Message | None:
        """Wait for the next message; None at the end."""
        while not self._canceled:
            version = self._store.version
            self._retry_refused()
            if (message := self._store.next(self._name)) is not None:
                return message
            if self._closing:
                break
            until_s = self._retry_s
            self._store.wait(version, None if until_s is None else until_s - self._clock.now())
        return None

    def _retry_refused(self) -> None:
        if self._retry_s is not None and self._clock.now() >= self._retry_s:
            self._retry_s = None
            self._store.retry(self._name, MOST_RETRIED)

    def _deliver(self, message: Message) -> None:
        """Make one attempt."""
        try:
            self._destination.send(message)
        except Refused as error:
            self._set_aside(message, error)
        except Unavailable as error:
            self._pause(error)
        else:
            self._settle(message)

    def _settle(self, message: Message) -> None:
        self._store.settle(self._name, message)
        if self._told:
            _log.warning("%s: delivers again, after %d attempts", self._name, self._failures)
        self._failures, self._refusing, self._told = 0, False, False

    def _set_aside(self, message: Message, error: Refused) -> None:
        """Log the first of a series only."""
        self._store.settle(self._name, message, refused=str(error))
        if not self._refusing:
            _log.warning("%s: %s; %s is set aside", self._name, error, message.key)
        self._failures, self._refusing, self._told = 0, True, False
        if self._retry_s is None:
            self._retry_s = self._clock.now() + RETRY_S

    def _pause(self, error: Unavailable) -> None:
        if self._failures + 1 >= OUTAGE and not (self._told or error.told or self._canceled):
            self._told = True
            _log.warning("%s: %s; events are kept until it takes them", self._name, error)
        pause_s = min(FIRST_PAUSE_S * 2 ** min(self._failures, 9), LONGEST_PAUSE_S)
        pause_s *= self._random.uniform(0.5, 1.0)
        self._failures += 1
        with self._changed:
            if not (self._canceled or self._hurried):
                self._changed.wait(max(pause_s, min(error.retry_after_s, LONGEST_ASKED_S)))
            self._hurried = False
