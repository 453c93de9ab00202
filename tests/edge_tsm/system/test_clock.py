"""Virtual time: nobody sleeps, nobody hangs, and the order is the same every time."""

from __future__ import annotations

import time

import pytest

from edge_tsm.errors import EdgeTsmError
from edge_tsm.system.clock import SystemClock, VirtualClock

pytestmark = pytest.mark.timeout(20)


def test_a_wait_of_an_hour_is_over_at_once() -> None:
    clock, started = VirtualClock(), time.monotonic()
    with (condition := clock.condition()):
        assert not condition.wait(3600.0)
    assert clock.now() == 3600.0
    assert time.monotonic() - started < 10


def test_threads_take_turns_by_their_deadlines() -> None:
    clock, ticks = VirtualClock(), list[tuple[str, float]]()
    done = clock.condition()
    ended: list[str] = []

    def ticker(name: str, period_s: float) -> None:
        own = clock.condition()
        for _ in range(3):
            with own:
                own.wait(period_s)
            ticks.append((name, clock.now()))
        with done:
            ended.append(name)
            done.notify_all()

    clock.start(lambda: ticker("slow", 2.5), name="slow")
    clock.start(lambda: ticker("fast", 1.0), name="fast")
    with done:
        while len(ended) < 2:
            assert done.wait(100.0)
    assert ticks == [
        *[("fast", 1.0), ("fast", 2.0), ("slow", 2.5), ("fast", 3.0)],
        *[("slow", 5.0), ("slow", 7.5)],
    ]


def test_time_stands_still_while_someone_works() -> None:
    clock, seen = VirtualClock(), list[float]()
    given = clock.condition()
    box: list[int] = []

    def worker() -> None:
        with given:
            while not box:
                given.wait(1000.0)
            sum(range(200_000))  # takes real time, and no virtual one
            seen.append(clock.now())

    clock.start(worker, name="worker")
    with (own := clock.condition()):
        own.wait(5.0)
    with given:
        box.append(1)
        given.notify_all()
    with own:
        own.wait(5.0)
    assert seen == [5.0]


def test_waiting_for_ever_is_an_error_and_no_hang() -> None:
    clock = VirtualClock()
    with pytest.raises(EdgeTsmError, match="waits forever"), (condition := clock.condition()):
        condition.wait()


def test_the_machine_s_clock() -> None:
    clock = SystemClock()
    done, box = clock.condition(), list[int]()

    def work() -> None:
        with done:
            box.append(1)
            done.notify_all()

    with done:
        clock.start(work, name="work")
        while not box:
            assert done.wait(10.0)
    assert clock.now() <= time.monotonic()
