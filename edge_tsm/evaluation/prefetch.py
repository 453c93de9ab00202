"""Work done ahead of the one who needs it, by threads, in order and in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Stop = Callable[[], None]


class Stopped(Exception):
    """Raised in a worker whose results nobody waits for any more."""


class Prefetch(Generic[Item, Result]):
    """Iterate it, within `with`, for (item, future) in the order of `items`.

    Args:
        work: called in a worker thread with an item and a function to call every few milliseconds,
            which raises `Stopped` once the `with` block has been left.
        items: what to work on.
        workers: threads.
        ahead: results that may be worked on or wait, beside the one handed out.

    What `work` raises, `future.result()` raises in the thread that asks.
    """

    def __init__(
        self,
        work: Callable[[Item, Stop], Result],
        items: Iterable[Item],
        *,
        workers: int,
        ahead: int,
    ) -> None:
        self._work, self._items, self._ahead = work, items, ahead
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="edge-tsm prefetch")

    def __enter__(self) -> Prefetch[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[Item, Future[Result]]]:
        """Yield items with the future of their result."""
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in self._items:
            waiting.append((item, self._pool.submit(self._work, item, self._check)))
            if len(waiting) > self._ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stopped
