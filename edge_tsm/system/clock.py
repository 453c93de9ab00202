"""Clocks: the machine's, and a virtual one under which threads wait without sleeping.

Whatever waits in edge-tsm does so on a condition of its clock, so that a test or a replay with a
`VirtualClock` passes through minutes of back-off at once, and in the same order every time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Protocol

from edge_tsm.errors import EdgeTsmError

_WITH_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Condition(Protocol):
    """What is used of `threading.Condition`; hold it with `with` to wait or notify."""

    def __enter__(self) -> object:
        """Acquire the lock."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Release the lock."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; False when `timeout` seconds of this clock pass first."""
        ...

    def notify_all(self) -> None:
        """Wake everyone who waits."""
        ...


class Clock(Protocol):
    """Monotonic seconds, conditions to wait on, and threads that take part in the clock."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        ...

    def suspended_s(self) -> float:
        """Return for how long the machine has slept so far, which `now` does not count."""
        ...

    def utc(self, time_s: float) -> datetime | None:
        """Return the time of day at a time of this clock; None for a clock that knows none."""
        ...

    def condition(self) -> Condition:
        """Return a new condition whose timeouts are in this clock's seconds."""
        ...

    def start(self, target: Callable[[], None], *, name: str) -> None:
        """Run `target` in a daemon thread."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def suspended_s(self) -> float:
        """Return how far the clock that counts sleep (Linux has one) is ahead of `now`."""
        return time.clock_gettime(_WITH_SLEEP) - time.monotonic()

    def utc(self, time_s: float) -> datetime:
        """Return the time of day at `time_s`, as far as the machine knows it now.

        A clock that is set later, as on a device that boots without one, changes later answers.
        """
        now = datetime.now(timezone.utc)
        return now - timedelta(seconds=self.now() - time_s)

    def condition(self) -> Condition:
        """Return a `threading.Condition`."""
        return threading.Condition()

    def start(self, target: Callable[[], None], *, name: str) -> None:
        """Run `target` in a daemon thread."""
        threading.Thread(target=target, name=name, daemon=True).start()


SYSTEM_CLOCK = SystemClock()


class VirtualClock:
    """Time that jumps to the next deadline when every thread waits, and stands still otherwise.

    The thread that makes the clock and those it starts take part; work costs no time. When all of
    them wait forever, each wait raises `EdgeTsmError` instead of hanging.

    Args:
        start_s: where it starts.
        epoch: the time of day at 0 s; without one it has none.
    """

    def __init__(self, start_s: float = 0.0, *, epoch: datetime | None = None) -> None:
        self._now_s, self._epoch = start_s, epoch
        self._lock = threading.Condition(threading.RLock())
        self._running = 1
        self._waiters: list[_Waiter] = []

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def suspended_s(self) -> float:
        """Return 0: this clock does not sleep."""
        return 0.0

    def utc(self, time_s: float) -> datetime | None:
        """Return the time of day, if the clock was given one."""
        return None if self._epoch is None else self._epoch + timedelta(seconds=time_s)

    def condition(self) -> Condition:
        """Return a condition of this clock; all of them share one lock."""
        return _VirtualCondition(self)

    def start(self, target: Callable[[], None], *, name: str) -> None:
        """Run `target` in a daemon thread that takes part in this clock."""

        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._leave()

        with self._lock:
            self._running += 1
        threading.Thread(target=run, name=name, daemon=True).start()

    def _wait(self, waiter: _Waiter) -> bool:
        """Wait with the lock held; True when notified, False when the deadline passed."""
        self._waiters.append(waiter)
        self._leave()
        try:
            while waiter.woken is None:
                self._lock.wait()
        finally:
            if waiter.woken is None:  # Ctrl-C
                self._wake([waiter], "interrupted")
        if waiter.woken == "stuck":
            raise EdgeTsmError("every thread of the virtual clock waits forever")
        return waiter.woken == "notified"

    def _leave(self) -> None:
        """One thread less runs; the last one moves time on to the earliest deadline."""
        self._running -= 1
        if self._running > 0 or not self._waiters:
            return
        first = min(self._waiters, key=lambda waiter: waiter.deadline_s)
        if first.deadline_s == math.inf:
            self._wake(list(self._waiters), "stuck")
        else:
            self._now_s = max(self._now_s, first.deadline_s)
            self._wake([first], "late")

    def _wake(self, waiters: list[_Waiter], why: str) -> None:
        for waiter in waiters:
            self._waiters.remove(waiter)
            waiter.woken = why
            self._running += 1
        self._lock.notify_all()


class _Waiter:
    """One thread in a wait: on which condition, until when, and why it woke."""

    def __init__(self, condition: _VirtualCondition, deadline_s: float) -> None:
        self.condition, self.deadline_s = condition, deadline_s
        self.woken: str | None = None


class _VirtualCondition:
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._clock._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._clock._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        # A timeout too small to change the sum must still move time on, or loops never end.
        now_s = self._clock.now()
        until_s = (
            math.inf if timeout is None else max(now_s + timeout, math.nextafter(now_s, math.inf))
        )
        return self._clock._wait(_Waiter(self, until_s))

    def notify_all(self) -> None:
        clock = self._clock
        clock._wake([w for w in clock._waiters if w.condition is self], "notified")


class Alarm:
    """Waits for points in time of a clock, until it is closed from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._changed, self._closed = clock, clock.condition(), False

    def wait_until(self, due_s: float) -> bool:
        """Return whether `due_s` was reached before `close`."""
        with self._changed:
            while not self._closed and (left_s := due_s - self._clock.now()) > 0:
                self._changed.wait(left_s)
            return not self._closed

    def close(self) -> None:
        """End a wait at once, and those to come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Turns:
    """What passed between two turns of a loop that is never long in one.

    A loop that turns late was stopped (SIGSTOP, a debugger), starved, or slept with the machine.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turned_s, self._suspended_s = clock.now(), clock.suspended_s()

    def turn(self) -> tuple[float, float]:
        """Return the clock's seconds since the last turn, and those that the machine slept."""
        before_s, before_suspended_s = self._turned_s, self._suspended_s
        self._turned_s, self._suspended_s = self._clock.now(), self._clock.suspended_s()
        return self._turned_s - before_s, self._suspended_s - before_suspended_s


class Handover:
    """Ends a thread: whatever it raised, or None, goes to its owner and not to stderr."""

    def __init__(self, deliver: Callable[[BaseException | None], None]) -> None:
        self._deliver = deliver

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        self._deliver(error)
        return True
