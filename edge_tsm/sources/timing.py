"""When a sender's frames were captured, on this machine's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from typing import TypeVar

from edge_tsm.system.clock import Clock

STEP_S = 0.5  # frames do not come that much later, or earlier, without a reason
SETTLED_S = 5.0  # that late for so long: it is the sender's clock, not the network
PARTS = 32  # of the memory; each remembers its least delayed frame
REAL_S = 60.0
COUNTED_S = 4.0
SLOWEST, FASTEST = 0.05, 20.0  # our seconds in one of the sender's
USUAL = 0.1  # the share of the newest interval in the usual one
RATES = 4  # a nominal 25 frames a second are not more than 100
WAITED = 0.3  # of a frame's time in a read: the frame had not been waiting
STREAK = 2  # so many of them are live
PAUSE = 8  # frames' times in a read: what comes in bursts is live after one

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Point:
    """A frame: the sender's time, and that of its arrival, in seconds."""

    sent_s: float
    now_s: float


@dataclass(frozen=True)
class _Line:
    """Our time of what the sender's clock says: that of `through`, and `rate` seconds a second."""

    through: _Point
    rate: float = 1.0

    def at(self, sent_s: float) -> float:
        return self.through.now_s + self.rate * (sent_s - self.through.sent_s)

    def delay_s(self, point: _Point) -> float:
        return point.now_s - self.at(point.sent_s)


class SenderClock:
    """Ties a sender's times to this machine's monotonic clock.

    The way of a frame takes longer or shorter, and never less than no time at all: arrivals lie on
    or above a line over the sender's times, and the lower convex hull of the last `memory_s`
    seconds, pauses left out, gives that line, its slope being the drift between the two clocks
    (Moon, Skelly and Towsley, "Estimation and removal of clock skew from network delay
    measurements", 1999). Bursts are spread out by it: only their last frame lies on the line.

    Times that a library makes of a count of frames (MJPEG over HTTP has none) change their rate
    with the camera's; give those a memory of `COUNTED_S`.

    A step of the sender's clock starts afresh: backward or forward at once, and one that hid in a
    pause when frames stay late for `SETTLED_S`. Otherwise times never run backward, and never lie
    in the future. Memory is bounded.

    >>> clock = SenderClock()
    >>> clock.place(1000.0, now_s=5.0)
    (5.0, False)
    >>> clock.place(1000.25, now_s=5.5)  # 0.25 s late
    (5.25, False)
    >>> clock.place(900.0, now_s=5.75)  # the sender's clock was set
    (5.75, True)
    """

    def __init__(self, memory_s: float = REAL_S) -> None:
        self._part_s = memory_s / PARTS
        # The least delayed frame of each part in which frames came: a pause takes no memory.
        self._points: deque[_Point] = deque(maxlen=PARTS + 1)
        self._line: _Line | None = None
        self._last = _Point(0.0, 0.0)
        self._part_began_s = self._time_s = self._interval_s = 0.0
        self._late_s = inf  # since when every frame was late

    def place(self, sent_s: float, *, now_s: float) -> tuple[float, bool]:
        """Return when a frame that arrives now was captured, and whether time broke before it.

        Args:
            sent_s: the sender's time, in seconds; frames come in its order.
            now_s: this machine's monotonic time.
        """
        point, last = _Point(sent_s, now_s), self._last
        jumped = self._line is not None and self._is_step(point)
        self._last = point
        if self._line is None or jumped:
            self._restart(point)
            return now_s, jumped
        self._interval_s += USUAL * (max(sent_s - last.sent_s, 0.0) - self._interval_s)
        self._learn(point, self._line)
        if self._is_late(point):
            self._restart(point)
            return now_s, True
        self._time_s = min(max(self._line.at(sent_s), self._time_s), now_s)
        return self._time_s, False

    def _is_step(self, point: _Point) -> bool:
        """Return whether the sender's time went on unlike ours since the last frame."""
        sent_s, passed_s = point.sent_s - self._last.sent_s, point.now_s - self._last.now_s
        return sent_s < -STEP_S or sent_s - passed_s > max(STEP_S, 3 * self._interval_s)

    def _is_late(self, point: _Point) -> bool:
        """Return whether every frame was late for a while."""
        if self._line is None or self._line.delay_s(point) <= STEP_S:
            self._late_s = inf
            return False
        self._late_s = min(self._late_s, point.now_s)
        return point.now_s - self._late_s > SETTLED_S

    def _restart(self, point: _Point) -> None:
        self._points.clear()
        self._points.append(point)
        self._line, self._time_s = _Line(point), point.now_s
        self._part_began_s, self._late_s, self._interval_s = point.now_s, inf, 0.0

    def _learn(self, point: _Point, line: _Line) -> None:
        """Keep the frame if it is the least delayed of its part; a line that it contradicts, or
        that is a part old, is drawn anew.
        """
        began = point.now_s - self._part_began_s >= self._part_s
        if began:
            self._part_began_s = point.now_s
            self._points.append(point)
        elif line.delay_s(point) <= line.delay_s(self._points[-1]):
            self._points[-1] = point
        if began or line.delay_s(point) < 0:
            self._line = self._drawn()

    def _drawn(self) -> _Line:
        """Return the edge of the lower hull in the middle of the memory, lowered to touch all."""
        hull = _lower_hull(self._points)
        middle_s = self._points[len(self._points) // 2].now_s
        edge = next(((a, b) for a, b in pairwise(hull) if b.now_s >= middle_s), None)
        rate = 1.0
        if edge and hull[-1].now_s - hull[0].now_s >= 2 * self._part_s:
            a, b = edge
            rate = (b.now_s - a.now_s) / max(b.sent_s - a.sent_s, 1e-9)
        line = _Line(self._points[-1], min(max(rate, SLOWEST), FASTEST))
        return replace(line, through=min(self._points, key=line.delay_s))


def most_queued(seconds: float, fps: float) -> int:
    """Return how many frames may have queued up, of a stream whose nominal rate may be wrong."""
    return int(seconds * fps * RATES)


def without_backlog(
    frames: Iterator[Item], clock: Clock, *, most: int, interval_s: float
) -> Iterator[Item]:
    """Yield frames, without the first ones, at most `most`, that come faster than they are taken.

    What a sender has queued since a stream was opened would pass for new.

    >>> from edge_tsm.system.clock import VirtualClock
    >>> list(without_backlog(iter("abcd"), VirtualClock(), most=3, interval_s=0.04))
    ['d']
    """
    streak = 0  # a single late frame may be this machine's doing
    for _ in range(most):
        before_s = clock.now()
        frame = next(frames, None)
        waited = (clock.now() - before_s) / interval_s
        streak = streak + 1 if waited > WAITED else 0
        if frame is not None and (streak == STREAK or waited > PAUSE):
            yield frame
            break
    yield from frames


def _lower_hull(points: deque[_Point]) -> list[_Point]:
    """Return the lower convex hull of points in the order of their times (Andrew's chain)."""
    hull: list[_Point] = []
    for point in points:
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _turns_right(a: _Point, b: _Point, c: _Point) -> bool:
    rise = (b.sent_s - a.sent_s) * (c.now_s - a.now_s)
    return rise <= (b.now_s - a.now_s) * (c.sent_s - a.sent_s)
