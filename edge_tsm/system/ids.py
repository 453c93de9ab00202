"""Ids that sort by the time at which they were made: UUIDs of version 7 (RFC 9562, 5.7)."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections.abc import Callable

_RANDOM = random.SystemRandom()
_MASK_62 = (1 << 62) - 1


class IdFactory:
    """Call it for the next id: milliseconds since 1970, a counter, and 62 random bits.

    Ids of one factory only grow, also where the time of day is set back; those of two processes
    differ. For any thread.

    Args:
        wall: seconds since 1970.
        random: where the random bits come from; a seeded one makes ids that repeat.

    >>> new_id = IdFactory(wall=lambda: 1.0, random=random.Random(1))
    >>> first, second = new_id(), new_id()
    >>> first
    '00000000-03e8-7000-a46d-d6122265b1f5'
    >>> first < second
    True
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, *, random: random.Random = _RANDOM
    ) -> None:
        self._wall, self._random, self._lock = wall, random, threading.Lock()
        self._newest = 0  # milliseconds and counter

    def __call__(self) -> str:
        """Return a new id, as text."""
        with self._lock:
            self._newest = max(int(self._wall() * 1000) << 12, self._newest + 1)
            stamp = self._newest
        return _uuid(stamp, self._random.getrandbits(62))


def derived_id(wall_s: float, text: str) -> str:
    """Return the id of something that happened at this time of day; the same for the same text.

    >>> derived_id(1.0, "porch lost")
    '00000000-03e8-7000-9685-5c3ed79430b1'
    """
    digest = hashlib.sha256(text.encode()).digest()
    return _uuid(int(wall_s * 1000) << 12, int.from_bytes(digest[:8], "big"))


def _uuid(stamp: int, rest: int) -> str:
    """Return milliseconds and counter, and 62 other bits, as a UUID of version 7."""
    high = (stamp >> 12) << 16 | 7 << 12 | stamp & 0xFFF
    return str(uuid.UUID(int=high << 64 | 2 << 62 | rest & _MASK_62))
