"""A live source that is opened when it is first read, and again until that succeeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from edge_tsm.datatypes import Frame
from edge_tsm.sources.base import Source


class DeferredSource:
    """Frames of what `connect` opens, which may not be there yet.

    Iterating it opens it, so that a pipeline's thread does, and tries again as after a loss. A
    source that can be opened again is kept; another one is made anew.

    >>> from edge_tsm.sources.pattern import TestPattern
    >>> source = DeferredSource("hall", lambda: TestPattern(size=(8, 8), fps=100, frames=2))
    >>> [frame.index for frame in source]
    [0, 1]
    """

    live = True
    reopens = True

    def __init__(self, uri: str, connect: Callable[[], Source], *, fps: float = 30.0) -> None:
        self.uri, self.fps = uri, fps
        self._connect, self._lock = connect, threading.Lock()
        self._opened: list[Source] = []
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come.

        Raises:
            SourceError: it cannot be opened, or fails.
        """
        source = self._take() or self._connect()
        self._keep(source)
        try:
            yield from source
        finally:
            if not getattr(source, "reopens", False):
                self._drop(source)

    def close(self) -> None:
        """Close what is open; what is being opened is closed as soon as it is."""
        with self._lock:
            self._closed, opened = True, self._opened
            self._opened = []
        for source in opened:
            source.close()

    def _take(self) -> Source | None:
        with self._lock:
            return self._opened[-1] if self._opened else None

    def _keep(self, source: Source) -> None:
        with self._lock:
            self.fps = source.fps
            closed = self._closed
            if not closed and source not in self._opened:
                self._opened.append(source)
        if closed:
            source.close()

    def _drop(self, source: Source) -> None:
        with self._lock:
            self._opened = [other for other in self._opened if other is not source]
        source.close()
