"""From the frames of a live source to what a model is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_tsm.datatypes import Frame, Image, Window
from edge_tsm.errors import InputError
from edge_tsm.live.timing import Cadence, StepClock, TimeWindow

# Frames closer than this share of a segment are not prepared: it bounds what a long window of a
# fast camera costs, and moves a segment by a 64th of its length at most.
THIN = 1 / 32
LONGEST_S = 3600.0


@dataclass(frozen=True, eq=False)
class AssembledClip:
    """Prepared crops for the engine, and where they come from.

    `fresh` means that the stream broke before them: an online model has to forget.
    """

    crops: Sequence[Image]
    window: Window
    fresh: bool = False


@dataclass(frozen=True)
class Pace:
    """Seconds that a window spans, and between answers; `aligned` for all sources at once."""

    window_s: float
    every_s: float
    aligned: bool = False


def seconds(name: str, given: float | None, default: float) -> float:
    """Return the seconds given of a `Pace`, or the default.

    Raises:
        InputError: they are out of range.
    """
    if given is None:
        return default
    if not 0 < given <= LONGEST_S:
        raise InputError(f"{name} is {given}; it must be more than 0 and at most {LONGEST_S:g}")
    return given


class Assembler(Protocol):
    """Makes clips of one live source's frames, which come in order."""

    def wants(self, frame: Frame) -> bool:
        """Return whether the frame is to be prepared and added; called for every frame."""
        ...

    def add(self, frame: Frame, crop: Image) -> AssembledClip | None:
        """Add a prepared frame; return a clip if one is due."""
        ...


@dataclass(frozen=True, eq=False)
class _Item:
    index: int
    crop: Image
    missed: int  # frame numbers that never came, so far


class ClipAssembler:
    """A clip of the crops of some `ages_s` in the last seconds, whenever an answer is due.

    It depends on the frames alone, their times included, and not on when they arrive: a replay
    gives the same clips. A gap empties the window, which then has to fill again.
    """

    def __init__(self, ages_s: Sequence[float], pace: Pace) -> None:
        segments = len(ages_s)
        self._window: TimeWindow[_Item] = TimeWindow(segments, pace.window_s, ages_s=ages_s)
        self._cadence = Cadence(pace.every_s, aligned=pace.aligned)
        self._window_s, self._thin_s = pace.window_s, pace.window_s / segments * THIN
        self._kept_s, self._seen, self._missed = -math.inf, -1, 0

    def wants(self, frame: Frame) -> bool:
        """Return False for frames that come too fast to matter; note gaps and missing numbers."""
        self._missed += max(frame.index - self._seen - 1, 0) if self._seen >= 0 else 0
        self._seen = frame.index
        if frame.gap:
            self._window.clear()
        wanted = frame.gap or not 0 <= frame.time_s - self._kept_s < self._thin_s
        self._kept_s = frame.time_s if wanted else self._kept_s
        return wanted

    def add(self, frame: Frame, crop: Image) -> AssembledClip | None:
        """Add a prepared frame; return the clip that ends with it, if one is due and full."""
        end_s = frame.time_s
        self._window.push(end_s, _Item(frame.index, crop, self._missed))
        if not self._cadence.is_due(end_s) or (items := self._window.clip()) is None:
            return None
        self._cadence.answer(end_s)
        oldest = self._window.oldest
        window = Window(
            frames=tuple(item.index for _, item in items),
            start_s=end_s - self._window_s,
            end_s=end_s,
            ages_s=tuple(end_s - time_s for time_s, _ in items),
            dropped=self._missed - (oldest.missed if oldest else 0),
        )
        return AssembledClip([item.crop for _, item in items], window)


class StepAssembler:
    """One crop per 1/`fps` seconds, for an online model, whether or not an answer is due."""

    def __init__(self, fps: float) -> None:
        self._steps, self._fresh, self._seen, self._missed = StepClock(fps), False, -1, 0

    def wants(self, frame: Frame) -> bool:
        """Return whether a step is due; note gaps and missing numbers."""
        self._missed += max(frame.index - self._seen - 1, 0) if self._seen >= 0 else 0
        self._seen = frame.index
        self._fresh = self._fresh or frame.gap
        return self._steps.due(frame.time_s)

    def add(self, frame: Frame, crop: Image) -> AssembledClip:
        """Return the crop as the next step."""
        window = Window((frame.index,), frame.time_s, frame.time_s, (0.0,), self._missed)
        clip = AssembledClip([crop], window, self._fresh)
        self._fresh, self._missed = False, 0
        return clip
