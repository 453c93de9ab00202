"""Which frames a model sees: index rules for whole clips, a sliding time window for live video."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from edge_tsm.errors import CardError, InputError

Item = TypeVar("Item")
TOLERANCE_S = 1e-6  # of sums of times, far below the distance of two frames
IndexRule = Callable[[int, int], list[int]]
DENSE_CLIPS, DENSE_SPAN = 10, 64


def uniform_indices(frame_count: int, segments: int) -> list[int]:
    """Return the center frame of each of `segments` equal parts, 0-based.

    Upstream's test-time rule (mit-han-lab/temporal-shift-module, ops/dataset.py,
    `_get_test_indices`). Clips shorter than `segments` repeat frames, as they do there.
    """
    if frame_count < 1 or segments < 1:
        raise InputError(f"cannot take {segments} segments from {frame_count} frames")
    tick = frame_count / float(segments)
    return [int(tick / 2.0 + tick * x) for x in range(segments)]


def paddle_left_indices(frame_count: int, segments: int) -> list[int]:
    """Return PaddleVideo's indices for TSM (`select_left`): uniform, but short clips stand still.

    Source: PaddleVideo, loader/pipelines/sample.py.
    """
    if frame_count > segments:
        return uniform_indices(frame_count, segments)
    return [0] * len(uniform_indices(frame_count, segments))


def paddle_center_indices(frame_count: int, segments: int) -> list[int]:
    """Return PaddleVideo's indices for PP-TSM: centers of whole parts, the remainder left out.

    Clips shorter than `segments` start again. Source: loader/pipelines/sample.py.
    """
    uniform_indices(frame_count, segments)  # refuses what cannot be sampled
    part = frame_count // segments
    if part == 0:
        return [i % frame_count for i in range(segments)]
    return [(part - 1) // 2 + i * part for i in range(segments)]


def dense_indices(frame_count: int, segments: int) -> list[int]:
    """Return ten clips of `segments` frames in a row, each spanning 64 frames of the video.

    Starts are spread over the video; a clip that runs over its end goes on at its beginning.
    Upstream's `--dense_sample` (ops/dataset.py, `_get_test_indices`). Up to 64 frames all ten
    clips are the same one.
    """
    uniform_indices(frame_count, segments)  # refuses what cannot be sampled
    span, stride = max(1, 1 + frame_count - DENSE_SPAN), DENSE_SPAN // segments
    starts = np.linspace(0, span - 1, num=DENSE_CLIPS, dtype=int).tolist()
    return [(k * stride + start) % frame_count for start in starts for k in range(segments)]


def twice_indices(frame_count: int, segments: int) -> list[int]:
    """Return two clips in a row: the center of each part, then its first frame.

    Upstream's `--twice_sample` (ops/dataset.py, `_get_test_indices`).
    """
    tick = frame_count / float(segments)
    return uniform_indices(frame_count, segments) + [int(tick * x) for x in range(segments)]


# What a card may name: one clip of a video.
RULES: dict[str, IndexRule] = {
    "uniform": uniform_indices,
    "paddle_left": paddle_left_indices,
    "paddle_center": paddle_center_indices,
}
# Upstream's test-time rules: one or more clips of a video, one after the other.
TEST_RULES: dict[str, IndexRule] = {
    "uniform": uniform_indices,
    "dense": dense_indices,
    "twice": twice_indices,
}


def index_rule(name: str) -> IndexRule:
    """Return the rule a card names in `sampling.rule`.

    Raises:
        CardError: this version knows no such rule.
    """
    if name not in RULES:
        raise CardError(f"card.sampling.rule is {name!r}, this edge-tsm knows {', '.join(RULES)}")
    return RULES[name]


class TimeWindow(Generic[Item]):
    """The last `window_s` seconds of a live stream, cut into `segments` equal parts.

    Segments are spread over seconds and not over frames, so that camera rate, jitter and dropped
    frames do not change what the model sees. The window ends at the newest item.
    """

    def __init__(self, segments: int, window_s: float) -> None:
        self._window_s = window_s
        self._segment_s = window_s / segments
        self._centers_s = [(i + 0.5) * self._segment_s for i in range(segments)]
        # Two segments with nothing in them are a hole in the action, whatever the camera's rate.
        self._gap_s = max(2 * self._segment_s, 0.5)
        self._items: deque[tuple[float, Item]] = deque()

    def push(self, time_s: float, item: Item) -> None:
        """Add the newest item; a gap in time, or time running backwards, empties the window."""
        if self._items and not 0 <= time_s - self._items[-1][0] <= self._gap_s:
            self._items.clear()
        self._items.append((time_s, item))
        # One item at or before the window's start stays: it tells that the window is full, and a
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
        """Return the item nearest to each segment center, or None until the window is full."""
        if not self._items:
            return None
        start_s = self._items[-1][0] - self._window_s
        if self._items[0][0] > start_s:
            return None
        items = list(self._items)
        times = [time_s for time_s, _ in items]
        return [items[_nearest(times, start_s + center)] for center in self._centers_s]


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

    Time is cut into parts of 1/fps seconds, and the first frame in each is due. Parts begin a
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
