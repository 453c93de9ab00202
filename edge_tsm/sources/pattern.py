"""A moving test pattern, paced like a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Size, SourceOptions
from edge_tsm.system.clock import SYSTEM_CLOCK, Alarm, Clock

_URI = re.compile(r"test://(?:(\d+)x(\d+))?(?:/(\d+(?:\.\d+)?))?")


class TestPattern:
    """A bar that sweeps over a gradient, at `fps`; picture i is the same every time.

    It ends after `frames` pictures, by default never. Like a camera it does not wait: a reader
    that is too slow misses pictures.

    >>> from edge_tsm.system.clock import VirtualClock
    >>> source = TestPattern(size=(64, 48), fps=10, frames=3, clock=VirtualClock())
    >>> [(frame.index, frame.time_s, frame.image.shape) for frame in source]
    [(0, 0.0, (48, 64, 3)), (1, 0.1, (48, 64, 3)), (2, 0.2, (48, 64, 3))]
    """

    __test__ = False  # pytest would take it for a test class
    live = True
    reopens = True

    def __init__(
        self,
        *,
        size: Size = (640, 480),
        fps: float = 30.0,
        frames: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.uri, self.fps = f"test://{size[0]}x{size[1]}/{fps:g}", fps
        self._frames, self._clock = frames, clock
        self._alarm = Alarm(clock)
        x, y = np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1])
        planes = np.broadcast_arrays(x[None, :], y[:, None], 128.0)
        self._ground = np.stack(planes, axis=-1).astype(np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures that are due, until `close`."""
        started_s, index = self._clock.now(), 0
        while self._frames is None or index < self._frames:
            if not self._alarm.wait_until(started_s + index / self.fps):
                return
            now_s = self._clock.now()
            yield Frame(self.image(index), index, now_s)
            index = max(index + 1, int((self._clock.now() - started_s) * self.fps))

    def image(self, index: int) -> Image:
        """Return picture number `index`, (H, W, 3) uint8 BGR."""
        image = self._ground.copy()
        width = image.shape[1]
        left = index * max(width // 60, 1) % width
        image[:, left : left + max(width // 12, 1)] = (40, 220, 240)
        return image

    def close(self) -> None:
        """End the iteration at once."""
        self._alarm.close()


def open_pattern(uri: str, options: SourceOptions, clock: Clock) -> TestPattern:
    """Open `test://`, `test://640x480` or `test://640x480/30`; the options fill in what it lacks.

    Raises:
        SourceError: another form.
    """
    match = _URI.fullmatch(uri)
    if not match:
        raise SourceError(f"{uri} is not a test pattern; write test:// or test://640x480/30")
    width, height, fps = match.groups()
    named = (int(width), int(height)) if width else None
    asked = SourceOptions(size=named or options.size, fps=float(fps) if fps else options.fps)
    return TestPattern(size=asked.size or (640, 480), fps=asked.fps or 30.0, clock=clock)
