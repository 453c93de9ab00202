"""Order, bounds, exceptions and the end of threads that work ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edge_tsm.evaluation.prefetch import Prefetch, Stop


def square(item: int, stop: Stop) -> int:
    return item * item


def test_results_come_in_order() -> None:
    with Prefetch(square, range(50), workers=4, ahead=8) as results:
        assert [(i, future.result()) for i, future in results] == [(i, i * i) for i in range(50)]


def test_no_more_than_asked_is_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    with Prefetch(square, items(), workers=2, ahead=3) as results:
        for done, _ in enumerate(results):
            assert len(taken) <= done + 4


def test_what_work_raises_its_owner_gets() -> None:
    def work(item: int, stop: Stop) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    with Prefetch(work, range(3), workers=1, ahead=1) as results:
        futures = [future for _, future in results]
        assert futures[0].result() == 0
        with pytest.raises(ValueError, match="one"):
            futures[1].result()
        assert futures[2].result() == 2


def test_leaving_ends_work_in_progress() -> None:
    started = threading.Event()

    def work(item: int, stop: Stop) -> int:
        started.set()
        while True:
            stop()

    before = threading.active_count()
    with Prefetch(work, range(9), workers=2, ahead=4) as results:
        next(iter(results))
        started.wait()
    assert threading.active_count() == before
