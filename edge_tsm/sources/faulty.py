"""A source with faults, for tests of whatever must survive a real camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Source
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock

FaultKind = Literal[
    "drop", "freeze", "black", "unplug", "hang", "slow", "bad_time", "resize", "corrupt", "raise"
]


@dataclass(frozen=True)
class Fault:
    """What goes wrong, from frame number `at` on, for `frames` frames.

    | kind | |
    | --- | --- |
    | drop | the frames never come; their numbers are missing |
    | freeze, black | the picture of the frame before; a black picture |
    | unplug | SourceError; opening fails for `seconds` |
    | hang | the read returns after `seconds`, by default never |
    | slow | each frame comes `seconds` late |
    | bad_time | capture times `seconds` too early; NaN if that is NaN |
    | resize | pictures of half the size |
    | corrupt | arrays that are no pictures |
    | raise | ValueError, as of a bug in a source |

    Frames are counted over all openings, so that a fault strikes once.
    """

    kind: FaultKind
    at: int
    frames: int = 1
    seconds: float = float("inf")


class FaultySource:
    """Delivers another live source's frames with `faults` in them; use one clock for both."""

    live = True
    reopens = True

    def __init__(
        self, source: Source, faults: Sequence[Fault], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.uri, self.fps = f"faulty {source.uri}", source.fps
        self._source, self._faults, self._clock = source, tuple(faults), clock
        self._changed, self._closed = clock.condition(), False
        self._count, self._plugged_s = 0, clock.now()
        self._last: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, faults included.

        Raises:
            SourceError: unplugged.
            ValueError: a fault of kind `raise`.
        """
        if self._clock.now() < self._plugged_s:
            raise SourceError(f"{self.uri} is unplugged")
        for frame in self._source:
            number, self._count = self._count, self._count + 1
            for fault in self._faults:
                if fault.at <= number < fault.at + fault.frames:
                    self._strike(fault)
                    frame = self._spoil(frame, fault)
            if self._closed:
                return
            if not any(f.kind == "drop" and f.at <= number < f.at + f.frames for f in self._faults):
                self._last = frame
                yield frame

    def close(self) -> None:
        """End any wait, and close the source beneath."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._source.close()

    def _strike(self, fault: Fault) -> None:
        """Wait or raise, where the fault is of that kind."""
        if fault.kind in ("hang", "slow"):
            self._wait(fault.seconds)
        elif fault.kind == "unplug":
            self._plugged_s = self._clock.now() + fault.seconds
            raise SourceError(f"{self.uri} was unplugged")
        elif fault.kind == "raise":
            raise ValueError(f"{self.uri} has a bug")

    def _spoil(self, frame: Frame, fault: Fault) -> Frame:
        """Return the frame with the fault in its picture or time."""
        if fault.kind == "freeze" and self._last is not None:
            return replace(frame, image=self._last.image)
        if fault.kind == "black":
            return replace(frame, image=np.zeros_like(frame.image))
        if fault.kind == "resize":
            return replace(frame, image=np.ascontiguousarray(frame.image[::2, ::2]))
        if fault.kind == "corrupt":
            return replace(frame, image=frame.image[:0])
        if fault.kind == "bad_time":
            return replace(frame, time_s=frame.time_s - fault.seconds)
        return frame

    def _wait(self, seconds: float) -> None:
        until_s = self._clock.now() + seconds
        with self._changed:
            while not self._closed and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(None if left_s == float("inf") else left_s)
