"""Answers for an event loop: a thread makes them, one at a time, and the loop takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress

from edge_tsm.datatypes import Prediction
from edge_tsm.system.clock import Clock, Handover


class _Exchange:
    """A place for one answer between a thread and an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop, self._filled = loop, asyncio.Event()
        self._changed, self._closed = clock.condition(), False
        self._answer: Prediction | None = None
        self._error: BaseException | None = None
        self._ended = False

    def put(self, answer: Prediction) -> bool:
        """Hand an answer over, and wait until it is taken; False when nobody wants it any more."""
        with self._changed:
            self._answer = answer
        self._wake()
        with self._changed:
            while self._answer is not None and not self._closed:
                self._changed.wait()
            return not self._closed

    def end(self, error: BaseException | None) -> None:
        """Say that no answer follows, and why."""
        self._error, self._ended = error, True
        self._wake()

    async def take(self) -> Prediction | None:
        """Return the next answer, None after the last one."""
        await self._filled.wait()
        self._filled.clear()
        with self._changed:
            answer, self._answer = self._answer, None
            self._changed.notify_all()
        if answer is None and self._error is not None:
            raise self._error
        return answer

    async def close(self) -> None:
        """Refuse what still comes, and wait for the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        while not self._ended:
            await self._filled.wait()
            self._filled.clear()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop was closed without waiting for us
            self._loop.call_soon_threadsafe(self._filled.set)


async def answers_of(
    answers: Callable[[], Generator[Prediction, None, None]],
    stop: Callable[[], None],
    clock: Clock,
) -> AsyncGenerator[Prediction, None]:
    """Yield what `answers` yields in a thread; when the consumer leaves, `stop` must end that."""
    exchange = _Exchange(asyncio.get_running_loop(), clock)

    def run() -> None:
        with Handover(exchange.end), closing(answers()) as made:
            for answer in made:
                if not exchange.put(answer):
                    return

    clock.start(run, name="edge-tsm pipeline")
    try:
        while (answer := await exchange.take()) is not None:
            yield answer
    finally:
        stop()
        await exchange.close()
