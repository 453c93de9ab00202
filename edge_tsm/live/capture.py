"""Keeps a live source going: newest frame wins, hung reads are abandoned, lost ones reopened."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from edge_tsm.datatypes import Frame, SourceState
from edge_tsm.errors import InputError, SourceError
from edge_tsm.live.arrivals import HOLE_S
from edge_tsm.live.health import OnState, PictureWatch, StateTracker
from edge_tsm.live.lifecycle import stop_at_exit
from edge_tsm.live.reader import Reader, Tally
from edge_tsm.sources import Source
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, SystemClock, Turns
from edge_tsm.system.redact import redact

log = logging.getLogger(__name__)

Required = Literal["all", "any", "none"]
MOST_HUNG = 8
SETTLED_S = 10.0
JOIN_S = 0.5
SLICE_S = 0.25  # of a wait: how soon a silence, and a stop of the whole process, are noticed


@dataclass(frozen=True)
class Retry:
    """How a lost source is opened again: after `first_s`, then `factor` times as long each time.

    Delays end at `most_s` and vary by ± `jitter`, so that many devices do not come back at once;
    `give_up_s` without success makes the loss final, by default never. `seed` fixes the jitter.

    >>> delays = Retry(first_s=1.0, most_s=3.0, jitter=0.0).delays()
    >>> [next(delays) for _ in range(3)]
    [1.0, 2.0, 3.0]
    """

    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 30.0
    jitter: float = 0.2
    give_up_s: float = math.inf
    seed: int | None = None

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each attempt."""
        chance, delay_s = random.Random(self.seed), self.first_s
        while True:
            yield delay_s * chance.uniform(1 - self.jitter, 1 + self.jitter)
            delay_s = min(delay_s * self.factor, self.most_s)


@dataclass(frozen=True)
class CaptureOptions:
    """How patient to be with a live source.

    A read or an opening that takes longer than `deadline_s` is abandoned, if the source can be
    opened again. `retry` None makes every loss final. A picture that stays black for `black_s`, or
    the same to the bit for `frozen_s`, counts as a loss; by default neither does. After `warn_s` it
    is a warning and a state, of sources that can be opened again: what an application shows may
    well stand still. `clock` must be that of the source.

    Of the live sources of a pipeline, `required` must deliver at the start: "all", "any" one of
    them, or "none"; those that do not yet are tried again as after a loss.

    >>> CaptureOptions(deadline_s=5.0, retry=Retry(give_up_s=60.0)).retry.give_up_s
    60.0
    >>> CaptureOptions(deadline_s=0)
    Traceback (most recent call last):
        ...
    edge_tsm.errors.InputError: deadline_s is 0; it must be more than 0
    """

    deadline_s: float = 10.0
    retry: Retry | None = field(default_factory=Retry)
    black_s: float = math.inf
    frozen_s: float = math.inf
    warn_s: float = 10.0
    required: Required = "any"
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        for name in ("deadline_s", "black_s", "frozen_s", "warn_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if self.required not in (kinds := get_args(Required)):
            raise InputError(f"required is {self.required!r}; it must be one of {', '.join(kinds)}")


class LiveCapture:
    """Iterate it for the frames of a live source, in one thread of yours.

    Every opening of the source is read in a thread of its own into a slot that holds one frame:
    the newest wins. Indices go on over reconnects, and `gap` marks the first frame after one, or
    after a change of size, a step back in time, or a stop of the whole process, whose backlog is
    skipped. Losses and returns are logged once each; `on_state` gets every change of state, in
    your thread.

    A source that never delivered is an error, or, for the `patient`, tried again as after a loss.

    Raises, while iterated:
        SourceError: the source never delivered, cannot be opened again, or has hung too often.
    """

    def __init__(
        self,
        source: Source,
        options: CaptureOptions | None = None,
        *,
        name: str | None = None,
        on_state: OnState | None = None,
        patient: bool = False,
    ) -> None:
        self.address, self._name = redact(source.uri), name
        self.tally = Tally()
        self.failure: SourceError | None = None  # until the first frame
        self._source, self._options, self._patient = source, options or CaptureOptions(), patient
        self._reopens: bool = getattr(source, "reopens", False)
        self._clock = self._options.clock
        self._changed, self._stopping = self._clock.condition(), False
        self._readers: list[Reader] = []
        self._states = StateTracker(name or self.address, self._clock, on_state)
        self._live_s, self._lost_s = self._clock.now(), math.inf
        self._turns, self._stood = Turns(self._clock), False
        self._last: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source is over, `stop` is called, or it is lost for good."""
        if isinstance(self._clock, SystemClock):
            stop_at_exit(self)
        delays = self._delays()
        try:
            while not self._stopping:
                try:
                    yield from self._session()
                    return
                except SourceError as error:
                    if not self._is_lost and self._clock.now() - self._live_s > SETTLED_S:
                        delays = self._delays()
                    self._lose(error)
                self._wait(next(delays))
        finally:
            self._states.change("ended")
            self._join()

    @property
    def state(self) -> SourceState:
        """The state right now, also where the thread that would tell of a change is busy."""
        state, readers = self._states.state, self._readers
        delivers = state in ("live", "frozen", "black") and readers
        is_silent = delivers and readers[-1].arrivals.is_silent(self._clock.now())
        return "silent" if is_silent else state

    @property
    def state_s(self) -> float:
        """The seconds since the state was another one."""
        now_s, readers = self._clock.now(), self._readers
        if self.state == "silent" and readers:
            return readers[-1].arrivals.silence_s(now_s)
        return now_s - self._states.since_s

    def stop(self) -> None:
        """End the iteration at once, and the source; a read that hangs is left behind."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._source.close()

    @property
    def _is_lost(self) -> bool:
        return self._lost_s < math.inf

    @property
    def _shown(self) -> str:
        return self._named(self.address)

    def _named(self, text: str) -> str:
        """Return a message that says which source it is about."""
        return text if self._name is None else f"{self._name}: {text}"

    def _delays(self) -> Iterator[float]:
        return (self._options.retry or Retry()).delays()

    def _watch(self) -> PictureWatch:
        options = self._options
        return PictureWatch(
            self.address,
            self._clock,
            limits={
                "no pictures": options.deadline_s,
                "black": options.black_s,
                "frozen": options.frozen_s,
            },
            warn_s=options.warn_s if self._reopens else math.inf,
        )

    def _session(self) -> Iterator[Frame]:
        """Yield the frames of one opening; return when the source says that it is over."""
        reader = Reader(self._source, self._changed, self._clock, self.tally)
        self._readers.append(reader)
        watch, shift = self._watch(), 0
        try:
            while (frame := self._next(reader)) is not None:
                if not watch.approves(frame):
                    continue
                newest = self._last.index if self._last else -1
                if frame.index + shift <= newest:
                    shift = newest + 1 - frame.index  # this opening counts from 0 again
                marked = self._marked(frame, frame.index + shift)
                self._states.change(watch.trouble or "live")
                yield marked
        finally:
            reader.abandoned = True

    def _next(self, reader: Reader) -> Frame | None:
        """Return the newest frame not seen yet; None at the end."""
        deadline_s = self._options.deadline_s
        until_s = self._clock.now() + deadline_s
        while not self._stopping:
            frame = self._glance(reader, until_s)
            if stood_s := self._stood_still(reader):
                self._catch_up(reader, stood_s)
                until_s = self._clock.now() + deadline_s
            elif frame is not None or reader.ended:
                return frame or reader.take()
            # What cannot be opened again, as an application that pushes, may take its time.
            elif self._reopens and self._clock.now() >= until_s:
                raise SourceError(f"{self.address} delivered nothing for {deadline_s:g} s")
            else:
                self._note_silence(reader)
        return None

    def _glance(self, reader: Reader, until_s: float) -> Frame | None:
        """Wait for a moment; return a frame if there is one."""
        with self._changed:
            if (frame := reader.take()) is None and not (reader.ended or self._stopping):
                left_s = min(until_s - self._clock.now(), SLICE_S)
                self._changed.wait(left_s if self._reopens else None)
                frame = reader.take()
            return frame

    def _stood_still(self, reader: Reader) -> float:
        """Return for how long the whole process stood still since the last call; mostly 0.

        A consumer that is slow for a while is no reason: then the reader went on.
        """
        passed_s, suspended_s = self._turns.turn()
        with self._changed:
            stood = reader.arrivals.stood(self._clock.now())
        late = stood and passed_s > HOLE_S + SLICE_S and self._last is not None
        return passed_s + suspended_s if self._reopens and (late or suspended_s > HOLE_S) else 0.0

    def _catch_up(self, reader: Reader, stood_s: float) -> None:
        """Leave out what a camera has sent meanwhile: it would pass for new."""
        log.info("%s: stood still for %.1f s; going on with what is live", self._shown, stood_s)
        with self._changed:
            reader.skip(stood_s)
        self._stood = True

    def _note_silence(self, reader: Reader) -> None:
        now_s, arrivals = self._clock.now(), reader.arrivals
        if self._last is not None and not self._is_lost and arrivals.is_silent(now_s):
            self._states.change("silent", f"nothing came for {arrivals.silence_s(now_s):.1f} s")

    def _marked(self, frame: Frame, index: int) -> Frame:
        """Return the frame with its place in the whole stream."""
        now_s, last = self._clock.now(), self._last
        time_s = frame.time_s if math.isfinite(frame.time_s) else now_s
        torn = last is not None and (last.image.shape != frame.image.shape or time_s < last.time_s)
        lost = self._is_lost
        if lost:
            log.info("%s is back after %.1f s", self._shown, now_s - self._lost_s)
        if lost or last is None:
            self._live_s, self._lost_s, self.failure = now_s, math.inf, None
        gap = frame.gap or torn or self._stood
        self.tally.breaks += gap and not lost
        self._stood = False
        self._last = replace(
            frame, index=index, time_s=time_s, gap=gap or (lost and last is not None)
        )
        return self._last

    def _lose(self, error: SourceError) -> None:
        """Note a loss; raise where it is final."""
        options, now_s, delivered = self._options, self._clock.now(), self._last is not None
        if not self._reopens or not options.retry or not (delivered or self._patient):
            raise SourceError(self._named(str(error))) from error
        if not self._is_lost:
            log.warning("%s; opening it again", self._named(redact(str(error))))
            self._lost_s = now_s
            self.tally.breaks += delivered
        if not delivered:
            self.failure = SourceError(self._named(str(error)))
        self._states.change("lost", str(error))
        if now_s - self._lost_s > options.retry.give_up_s:
            raise SourceError(self._named(str(error))) from error
        self._readers = [reader for reader in self._readers if not reader.ended]
        if len(self._readers) >= MOST_HUNG:
            raise SourceError(
                f"{self.address}: {MOST_HUNG} reads hang; restart the program"
            ) from error

    def _join(self) -> None:
        """Wait a moment for the threads that read: one that returns from a library while Python
        ends would abort the process.
        """
        until_s = self._clock.now() + JOIN_S
        with self._changed:
            while any(not reader.ended for reader in self._readers):
                if not self._changed.wait(until_s - self._clock.now()):
                    return

    def _wait(self, delay_s: float) -> None:
        until_s = self._clock.now() + delay_s
        with self._changed:
            while not self._stopping and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(left_s)
