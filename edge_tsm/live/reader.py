"""One opening of a live source, read in a thread of its own: the newest frame wins."""

from __future__ import annotations

from dataclasses import dataclass

from edge_tsm.datatypes import Frame
from edge_tsm.live.arrivals import Arrivals
from edge_tsm.sources import Source
from edge_tsm.system.clock import Clock, Condition, Handover


@dataclass
class Tally:
    """What a capture has counted so far; see `Counts`."""

    frames: int = 0
    dropped: int = 0
    breaks: int = 0


class Reader:
    """One opening of a source, read in a thread of its own into a slot for one frame.

    Its members are guarded by the condition of the capture that owns it.
    """

    def __init__(self, source: Source, changed: Condition, clock: Clock, tally: Tally) -> None:
        self.ended, self.abandoned = False, False
        self._error: BaseException | None = None
        self._slot: Frame | None = None
        self._source, self._changed, self._clock = source, changed, clock
        self._tally = tally
        self.arrivals = Arrivals(1 / (source.fps or 30.0), now_s=clock.now())
        clock.start(self._run, name="edge-tsm read")

    def take(self) -> Frame | None:
        """Return what is in the slot; with nothing there, raise what ended the thread, if it did.

        The end of a source is no error.
        """
        frame, self._slot = self._slot, None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def skip(self, seconds: float) -> None:
        """Leave out what was sent in so many seconds and waits to be read."""
        self._tally.dropped += self._slot is not None
        self._slot = None
        self.arrivals.skip(seconds)

    def _run(self) -> None:
        with Handover(self._end):
            for frame in self._source:
                with self._changed:
                    if self.abandoned:
                        return
                    self._tally.frames += 1
                    now_s = self._clock.now()
                    if not self.arrivals.is_live(now_s, age_s=now_s - frame.time_s):
                        self._tally.dropped += 1
                        continue
                    self._tally.dropped += self._slot is not None
                    self._slot = frame
                    self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self.ended = error, True
            self._changed.notify_all()
