"""The life of a run: new, running, closing, closed; nothing goes back."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Literal, Protocol

from edge_tsm.errors import InputError
from edge_tsm.system.clock import Clock, Condition

Phase = Literal["new", "running", "closing", "closed"]
OnError = Callable[[BaseException], None]
EXIT_S = 10.0  # longer than a read of a library takes to give up, in most cases
OURS = ("edge-tsm read", "edge-tsm capture", "edge-tsm pipeline")

_log = logging.getLogger(__name__)


class LifeCycle:
    """Where a run is, who runs it, and what ended it.

    | phase | |
    | --- | --- |
    | new | it can be begun, once |
    | running | someone iterates it, or a thread does |
    | closing | its end was asked for, and it has not ended yet |
    | closed | it has ended, by itself, by an error or because that was asked for |

    Args:
        changed: guards the phase, and is notified of its changes.
        clock: what waiting is measured with.
    """

    def __init__(self, changed: Condition, clock: Clock) -> None:
        self.phase: Phase = "new"
        self._changed, self._clock = changed, clock
        self.thread_id: int | None = None
        self._threaded = self._told = False
        self._error: BaseException | None = None

    def begin(self, *, threaded: bool) -> None:
        """Go from new to running.

        Raises:
            InputError: it runs already, or has ended.
        """
        with self._changed:
            if self.phase != "new":
                problem = "already runs" if self.phase == "running" else "is closed"
                raise InputError(f"this pipeline {problem}; make another one for another run")
            self.phase, self._threaded = "running", threaded

    def enter(self) -> None:
        """Note that the calling thread is the run's: it is never waited for in itself."""
        self.thread_id = threading.get_ident()

    def ask_to_close(self) -> None:
        """Go to closing, unless it has ended; one that nobody began is closed."""
        with self._changed:
            self.phase = {"new": "closed", "running": "closing"}.get(self.phase, self.phase)  # type: ignore[assignment]
            self._changed.notify_all()

    def end(self) -> None:
        """Go to closed."""
        with self._changed:
            self.phase = "closed"
            self._changed.notify_all()

    def fail(self, error: BaseException, on_error: OnError | None) -> None:
        """Keep what ended a run in a thread; log it at once, and hand it to `on_error`."""
        _log.error("the pipeline ended: %s", error, exc_info=error)
        with self._changed:
            self._error = error
        if on_error is None:
            return
        self._told = True
        try:
            on_error(error)
        except Exception as second:  # noqa: BLE001, whatever it is, the run ends
            _log.error("on_error failed: %s", second, exc_info=second)

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait for the end of a run in a thread; return whether none is running.

        Raises:
            BaseException: what ended the run.
        """
        ended = self.wait_quietly(timeout_s)
        if ended and self._error is not None:
            self._told = True
            raise self._error
        return ended

    def wait_quietly(self, timeout_s: float) -> bool:
        """Wait as `wait` does, without its error."""
        until_s = self._clock.now() + timeout_s
        with self._changed:
            while self._is_running and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(None if left_s == math.inf else left_s)
            return not self._is_running

    def raise_untold(self) -> None:
        """Raise what ended the run, if neither `wait` nor `on_error` has told of it."""
        if self._error is not None and not self._told:
            self._told = True
            raise self._error

    @property
    def _is_running(self) -> bool:
        return self._threaded and self.phase in ("running", "closing")


class _Stoppable(Protocol):
    def stop(self) -> None: ...


_RUNNING: weakref.WeakSet[_Stoppable] = weakref.WeakSet()


def stop_at_exit(run: _Stoppable) -> None:
    """Stop `run` when Python ends, if it still exists then, and wait for its threads.

    A thread that comes back from C++, as from a read of OpenCV, while Python ends would abort the
    process.
    """
    _RUNNING.add(run)


def _stop_all() -> None:
    for run in list(_RUNNING):
        run.stop()
    until_s, told = time.monotonic() + EXIT_S, False
    for thread in threading.enumerate():
        if not thread.name.startswith(OURS) or thread is threading.current_thread():
            continue
        thread.join(1.0)
        if thread.is_alive() and not told:
            told = True
            _log.warning("a read of a camera has not returned yet; waiting for it")
        thread.join(max(until_s - time.monotonic(), 0.0))


atexit.register(_stop_all)
