"""Keeps a live source going: newest frame wins, hung reads are abandoned, lost ones reopened."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edge_tsm.datatypes import Frame, Image, SourceState
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources import Source
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, Condition, Handover
from edge_tsm.system.redact import redact

log = logging.getLogger(__name__)

MOST_HUNG = 8
SETTLED_S = 10.0
JOIN_S = 0.5
BLACK_LEVEL = 8
SPARSE = 8  # every eighth row and column suffice to see a black or frozen picture


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
    the same to the bit for `frozen_s`, counts as a loss; by default neither is looked for. `clock`
    must be that of the source.

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
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        for name in ("deadline_s", "black_s", "frozen_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be more than 0")


class LiveCapture:
    """Iterate it for the frames of a live source, in one thread of yours.

    Every opening of the source is read in a thread of its own into a slot that holds one frame:
    the newest wins. Indices go on over reconnects, and `gap` marks the first frame after one, or
    after a change of size or a step back in time. Losses and returns are logged once each.

    Raises, while iterated:
        SourceError: the source never delivered, cannot be opened again, or has hung too often.
    """

    def __init__(
        self, source: Source, options: CaptureOptions | None = None, *, name: str | None = None
    ) -> None:
        self.address, self._name = redact(source.uri), name
        self.state: SourceState = "opening"
        self.tally = Tally()
        self._source, self._options = source, options or CaptureOptions()
        self._reopens: bool = getattr(source, "reopens", False)
        self._clock = self._options.clock
        self._changed, self._stopping = self._clock.condition(), False
        self._readers: list[_Reader] = []
        self._live_s = self._lost_s = self._clock.now()
        self._last: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source is over, `stop` is called, or it is lost for good."""
        delays = self._delays()
        try:
            while not self._stopping:
                try:
                    yield from self._session()
                    return
                except SourceError as error:
                    if self.state == "live" and self._clock.now() - self._live_s > SETTLED_S:
                        delays = self._delays()
                    self._lose(error)
                self._wait(next(delays))
        finally:
            self.state = "ended"
            self._join()

    def stop(self) -> None:
        """End the iteration at once, and the source; a read that hangs is left behind."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._source.close()

    def _named(self, text: str) -> str:
        """Return a message that says which source it is about."""
        return text if self._name is None else f"{self._name}: {text}"

    def _delays(self) -> Iterator[float]:
        return (self._options.retry or Retry()).delays()

    def _session(self) -> Iterator[Frame]:
        """Yield the frames of one opening; return when the source says that it is over."""
        reader = _Reader(self._source, self._changed, self._clock, self.tally)
        self._readers.append(reader)
        watch, shift = _Watch(self.address, self._options), 0
        try:
            while (frame := self._next(reader)) is not None:
                if not watch.approves(frame):
                    continue
                newest = self._last.index if self._last else -1
                if frame.index + shift <= newest:
                    shift = newest + 1 - frame.index  # this opening counts from 0 again
                yield self._marked(frame, frame.index + shift)
        finally:
            reader.abandoned = True

    def _next(self, reader: _Reader) -> Frame | None:
        """Return the newest frame not seen yet; None at the end."""
        deadline_s = self._options.deadline_s
        until_s = self._clock.now() + deadline_s
        with self._changed:
            while not self._stopping:
                if (frame := reader.take()) is not None or reader.ended:
                    return frame
                # What cannot be opened again, as an application that pushes, may take its time.
                left_s = until_s - self._clock.now() if self._reopens else None
                if not self._changed.wait(left_s):
                    raise SourceError(f"{self.address} delivered nothing for {deadline_s:g} s")
        return None

    def _marked(self, frame: Frame, index: int) -> Frame:
        """Return the frame with its place in the whole stream."""
        now_s, last = self._clock.now(), self._last
        time_s = frame.time_s if math.isfinite(frame.time_s) else now_s
        lost = self.state == "lost"
        torn = last is not None and (last.image.shape != frame.image.shape or time_s < last.time_s)
        if lost:
            log.info("%s is back after %.1f s", self._named(self.address), now_s - self._lost_s)
        if self.state != "live":
            self.state, self._live_s = "live", now_s
        self.tally.breaks += torn and not lost
        self._last = replace(frame, index=index, time_s=time_s, gap=frame.gap or lost or torn)
        return self._last

    def _lose(self, error: SourceError) -> None:
        """Note a loss; raise where it is final."""
        options, now_s = self._options, self._clock.now()
        if not self._reopens or not options.retry or not self._last:
            raise SourceError(self._named(str(error))) from error
        if self.state == "live":
            log.warning("%s; opening it again", self._named(redact(str(error))))
            self.state, self._lost_s = "lost", now_s
            self.tally.breaks += 1
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


@dataclass
class Tally:
    """What a capture has counted so far; see `Counts`."""

    frames: int = 0
    dropped: int = 0
    breaks: int = 0


class _Reader:
    """One opening of a source, read in a thread of its own into a slot for one frame.

    Its members are guarded by the condition of the capture that owns it.
    """

    def __init__(self, source: Source, changed: Condition, clock: Clock, tally: Tally) -> None:
        self.ended, self.abandoned = False, False
        self._error: BaseException | None = None
        self._slot: Frame | None = None
        self._source, self._changed, self._tally = source, changed, tally
        clock.start(self._run, name="edge-tsm read")

    def take(self) -> Frame | None:
        """Return what is in the slot; with nothing there, raise what ended the thread, if it did.

        The end of a source is no error.
        """
        frame, self._slot = self._slot, None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def _run(self) -> None:
        with Handover(self._end):
            for frame in self._source:
                with self._changed:
                    if self.abandoned:
                        return
                    self._tally.frames += 1
                    self._tally.dropped += self._slot is not None
                    self._slot = frame
                    self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self.ended = error, True
            self._changed.notify_all()


class _Watch:
    """Looks at the pictures of one opening for what a camera in trouble delivers."""

    def __init__(self, uri: str, options: CaptureOptions) -> None:
        self._uri, self._options = uri, options
        self._good_s: dict[str, float] = {}
        self._sparse: Image | None = None

    def approves(self, frame: Frame) -> bool:
        """Return whether it is a picture at all.

        Raises:
            SourceError: for too long it was none, or black, or always the same.
        """
        is_picture = _is_picture(frame.image)
        self._check("no pictures", not is_picture, self._options.deadline_s)
        if is_picture and min(self._options.black_s, self._options.frozen_s) < math.inf:
            sparse = frame.image[::SPARSE, ::SPARSE].copy()
            black = bool(sparse.mean() < BLACK_LEVEL)
            frozen = self._sparse is not None and np.array_equal(sparse, self._sparse)
            self._sparse = sparse
            self._check("black pictures", black, self._options.black_s)
            self._check("the same picture", frozen, self._options.frozen_s)
        return is_picture

    def _check(self, what: str, bad: bool, most_s: float) -> None:
        now_s = self._options.clock.now()
        if not bad:
            self._good_s[what] = now_s
        elif now_s - self._good_s.setdefault(what, now_s) >= most_s:
            raise SourceError(f"{self._uri} delivered {what} for {most_s:g} s")


def _is_picture(image: Image) -> bool:
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.shape[2:] == (3,)
        and image.size > 0
    )
