"""The pace at which the frames of a live source come: its silences, and what has queued up."""

from __future__ import annotations

import math

HOLE_S = 1.0
SILENT_S = 1.5  # that, and a tick of the page, is within 2 s
SLOWER = 3.0  # times its slowest pace is silence
SHARE = 0.02  # of the newest distance in the usual one: a burst a second is averaged over
FADE = 0.99  # a frame, of the longest distance
OLD_S = 0.5
MOST = 4  # times what the usual distance lets expect is skipped
WAITED = 0.3  # of the usual distance: a frame that comes sooner had been waiting


class Arrivals:
    """Takes the arrival times of one opening's frames, in seconds of the clock.

    >>> arrivals = Arrivals(0.1, now_s=0.0)
    >>> [arrivals.is_live(i / 10) for i in range(3)]
    [True, True, True]
    >>> arrivals.is_silent(1.6), arrivals.is_silent(1.8)
    (False, True)
    >>> arrivals.skip(10.0)  # the program stood still, and the sender did not
    >>> [arrivals.is_live(12.2 + i / 1000) for i in range(3)], arrivals.is_live(12.3)
    ([False, False, False], True)
    """

    def __init__(self, interval_s: float, *, now_s: float) -> None:
        self._usual_s = self._longest_s = interval_s
        self._last_s, self._count, self._skipping, self._stood = now_s, 0, 0, False

    def is_live(self, now_s: float, *, age_s: float = 0.0) -> bool:
        """Note a frame, `age_s` after its capture; return False for one of a skipped backlog."""
        distance_s, self._last_s = now_s - self._last_s, now_s
        self._count += 1
        self._stood = self._stood or distance_s > HOLE_S
        if self._skipping > 0:
            self._skipping -= 1
            waited = WAITED * self._usual_s < distance_s <= HOLE_S and age_s <= OLD_S
            self._skipping = 0 if waited else self._skipping
            return waited
        if self._count > 1:
            self._usual_s += SHARE * (distance_s - self._usual_s)
            self._longest_s = max(distance_s, self._longest_s * FADE)
        return True

    def skip(self, seconds: float) -> None:
        """Skip what was sent in so many seconds, which comes faster than it was taken."""
        self._skipping = math.ceil(seconds / self._usual_s * MOST)

    def stood(self, now_s: float) -> bool:
        """Return whether nothing came for `HOLE_S` or longer at some time since the last call."""
        stood, self._stood = self._stood or now_s - self._last_s > HOLE_S, False
        return stood

    def is_silent(self, now_s: float) -> bool:
        """Return whether the next frame is long overdue."""
        return now_s - self._last_s > max(SILENT_S, SLOWER * self._longest_s)

    def silence_s(self, now_s: float) -> float:
        """Return the seconds since the last frame."""
        return now_s - self._last_s
