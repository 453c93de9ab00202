"""An iteration that goes on in a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from edge_tsm.system.clock import Handover

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Iterate it, within `with`, for the items of a generator, which runs up to `most` ahead.

    What the generator raises is raised here, after the items before.

    >>> with Ahead((i * i for i in range(4)), most=2) as squares:
    ...     list(squares)
    [0, 1, 4, 9]
    """

    def __init__(self, items: Generator[Item, None, None], *, most: int) -> None:
        self._items, self._most = items, most
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = self._left = False
        self._thread = threading.Thread(target=self._run, name="edge-tsm ahead", daemon=True)

    def __enter__(self) -> Ahead[Item]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._left = True
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        while True:
            with self._changed:
                while not (self._waiting or self._ended):
                    self._changed.wait()
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        with Handover(self._end), closing(self._items):
            for item in self._items:
                with self._changed:
                    while len(self._waiting) >= self._most and not self._left:
                        self._changed.wait()
                    if self._left:
                        return
                    self._waiting.append(item)
                    self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()
