"""Frames that an application pushes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import InputError
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock


class PushSource:
    """A live source that the application feeds, from any thread.

    `push` never blocks; a frame that nobody has read yet gives way to a newer one.

    >>> source = PushSource()
    >>> for level in (10, 20):
    ...     source.push(np.full((48, 64, 3), level, np.uint8), time_s=level / 10)
    >>> source.close()
    >>> [(frame.index, frame.time_s, int(frame.image.max())) for frame in source]
    [(1, 2.0, 20)]
    """

    live = True

    def __init__(
        self, uri: str = "pushed frames", *, fps: float = 30.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.uri, self.fps = uri, fps
        self._clock, self._changed = clock, clock.condition()
        self._waiting: Frame | None = None
        self._index, self._closed = 0, False

    def push(self, image: Image, time_s: float | None = None) -> None:
        """Hand over one picture, captured now or at `time_s` of the clock; it is copied.

        Raises:
            InputError: not (H, W, 3) uint8, or the source is closed.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise InputError("a pushed frame must be a uint8 array (H, W, 3)")
        with self._changed:
            if self._closed:
                raise InputError("this source is closed; nothing more can be pushed")
            captured_s = self._clock.now() if time_s is None else time_s
            self._waiting = Frame(image.copy(), self._index, captured_s)
            self._index += 1
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame whenever there is a new one, until `close`."""
        while True:
            with self._changed:
                while self._waiting is None and not self._closed:
                    self._changed.wait()
                frame, self._waiting = self._waiting, None
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """End the stream after the frame that is waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
