"""When a live model looks and answers: a sliding window, a cadence, steps; all by capture time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
TOLERANCE_S = 1e-6  # of sums of times, far below the distance of two frames


class TimeWindow(Generic[Item]):
    """The last `window_s` seconds of a live stream, cut into `segments` equal parts.

    Segments are spread over seconds and not over frames, so that camera rate, jitter and dropped
    frames do not change what the model sees. The window ends at the newest item. `ages_s` are the
    seconds before it of the items wanted, by default the centers of the parts.
    """

    def __init__(
        self, segments: int, window_s: float, *, ages_s: Sequence[float] | None = None
    ) -> None:
        self._window_s = window_s
        self._segment_s = window_s / segments
        centers = [window_s - (i + 0.5) * self._segment_s for i in range(segments)]
        self._offsets_s = [window_s - age_s for age_s in ages_s or centers]
        # Two segments with nothing in them are a hole in the action, whatever the camera's rate.
        self._gap_s = max(2 * self._segment_s, 0.5)
        self._items: deque[tuple[float, Item]] = deque()

    def push(self, time_s: float, item: Item) -> None:
        """Add the newest item; a gap in time, or time running backwards, empties the window."""
        if self._items and not 0 <= time_s - self._items[-1][0] <= self._gap_s:
            self._items.clear()
        self._items.append((time_s, item))
        # One item at or before the window's start stays: it shows that the window is full, and a
        # slow camera may have nothing nearer to the first center.
        while len(self._items) > 1 and self._items[1][0] <= time_s - self._window_s:
            self._items.popleft()

    def clear(self) -> None:
        """Empty the window, after a break in the stream."""
        self._items.clear()

    @property
    def oldest(self) -> Item | None:
        """The oldest item that is kept, or None."""
        return self._items[0][1] if self._items else None

    def clip(self) -> list[tuple[float, Item]] | None:
        """Return the item nearest to each segment's moment, or None until the window is full."""
        if not self._items:
            return None
        start_s = self._items[-1][0] - self._window_s
        if self._items[0][0] > start_s:
            return None
        items = list(self._items)
        times = [time_s for time_s, _ in items]
        return [items[_nearest(times, start_s + offset)] for offset in self._offsets_s]


class Cadence:
    """When answers are due: every `every_s` seconds of capture time, without drift.

    Beats count from the first answer, or, to fall together for several sources, from 0 (`aligned`).
    """

    def __init__(self, every_s: float, *, aligned: bool = False) -> None:
        self._every_s, self._aligned = every_s, aligned
        self._beat_s = self._newest_s = -math.inf

    def is_due(self, time_s: float) -> bool:
        """Return whether an answer is due at `time_s`; also when time ran backwards."""
        return time_s >= self._beat_s - TOLERANCE_S or time_s < self._newest_s

    def answer(self, time_s: float) -> None:
        """Move the beat past an answer that was given at `time_s`."""
        if self._aligned:
            self._beat_s = 0.0
        elif not self._newest_s <= time_s or self._beat_s == -math.inf:
            self._beat_s = time_s
        beats = math.floor((time_s - self._beat_s + TOLERANCE_S) / self._every_s) + 1
        self._beat_s += beats * self._every_s
        self._newest_s = time_s

    def restart(self) -> None:
        """Let the next answer be due at once, after a break in the stream."""
        self._beat_s = self._newest_s = -math.inf


class StepClock:
    """Which frames of a live stream an online model steps on: one per 1/`fps` seconds, by time.

    Time is cut into parts of 1/fps seconds; the first frame in each is due. Parts begin a
    quarter before the first frame's beat, where no frame of a 15, 30 or 60 fps camera falls: its
    jitter then changes nothing.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._gap_s = max(2 / fps, 0.5)  # as in `TimeWindow`
        self._first_s, self._newest_s, self._part = 0.0, math.inf, -1

    def due(self, time_s: float) -> bool:
        """Return whether to step on the frame of that time; backwards, time begins anew."""
        if time_s < self._newest_s:
            self._first_s, self._part = time_s, -1
        self._newest_s = time_s
        part = math.floor((time_s - self._first_s) * self._fps + 0.25)
        before, self._part = self._part, part
        return part > before

    def continues(self, before_s: float, time_s: float) -> bool:
        """Return whether a step follows another without a hole that would need a reset."""
        return 0 < time_s - before_s <= self._gap_s


def _nearest(times: list[float], wanted: float) -> int:
    right = min(bisect_left(times, wanted), len(times) - 1)
    left = max(right - 1, 0)
    return left if wanted - times[left] <= times[right] - wanted else right
