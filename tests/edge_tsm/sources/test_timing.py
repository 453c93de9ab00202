"""The clock of a sender, on ours: drift, steps, jitter and bursts, in virtual time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.sources.timing import COUNTED_S, PARTS, SenderClock


@dataclass(frozen=True)
class Sent:
    """A frame: when it was captured by our clock, the sender's time, and its arrival."""

    true_s: float
    sent_s: float
    now_s: float


def stream(
    seconds: float, *, fps: float = 25.0, rate: float = 1.0, jitter_s: float = 0.0, seed: int = 0
) -> Iterator[Sent]:
    """Frames in order, delayed by up to `jitter_s`, of a sender whose clock runs at `rate`."""
    chance, arrived_s = random.Random(seed), 0.0
    for i in range(int(seconds * fps)):
        true_s = i / fps
        arrived_s = max(arrived_s, true_s + jitter_s * chance.random() ** 2)
        yield Sent(true_s, 7.0 + true_s * rate, arrived_s)


def errors(
    frames: Iterable[Sent], clock: SenderClock | None = None
) -> tuple[list[float], list[int]]:
    """How far placed times are from the true ones, and the numbers of the frames after a break."""
    clock, off_s, breaks, before_s = clock or SenderClock(), list[float](), list[int](), -1.0
    for number, frame in enumerate(frames):
        time_s, jumped = clock.place(frame.sent_s, now_s=frame.now_s)
        assert before_s <= time_s <= frame.now_s
        before_s = time_s
        off_s.append(time_s - frame.true_s)
        breaks += [number] if jumped else []
    return off_s, breaks


def test_jitter_is_taken_out() -> None:
    off_s, breaks = errors(stream(60, jitter_s=0.3))
    assert breaks == []
    assert max(map(abs, off_s[250:])) < 0.03


@pytest.mark.parametrize(("rate", "hours"), [(0.99, 1), (1.01, 1), (1.0001, 10), (0.9999, 10)])
def test_drift_is_followed_for_hours(rate: float, hours: int) -> None:
    off_s, breaks = errors(stream(3600 * hours, fps=1, rate=rate, jitter_s=0.05))
    assert breaks == []
    assert max(map(abs, off_s[20:])) < 0.05


def stepped(step_s: float, *, hidden: bool = False) -> Iterator[Sent]:
    """A sender whose clock is set after 20 s, in view or while nothing comes for 10 s."""
    for frame in stream(60, jitter_s=0.05):
        if hidden and 20 <= frame.true_s < 30:
            continue
        shift_s = step_s if frame.true_s >= 20 else 0.0
        yield Sent(frame.true_s, frame.sent_s + shift_s, frame.now_s)


@pytest.mark.parametrize("step_s", [-5.0, 5.0, -3600.0, 86400.0, -0.8, 0.8])
def test_a_step_is_a_break_and_leaves_nothing(step_s: float) -> None:
    off_s, breaks = errors(stepped(step_s))
    assert breaks == [500]
    assert max(map(abs, off_s[20:])) < 0.1


def test_a_step_back_that_hides_in_a_pause_is_found_within_seconds() -> None:
    off_s, breaks = errors(stepped(-5.0, hidden=True))
    [found] = breaks
    assert 500 < found < 500 + 25 * 6
    assert max(map(abs, off_s[found:])) < 0.1


def burst(seconds: int, *, fps: int, nominal: float) -> Iterator[Sent]:
    """A camera that sends once a second what it has captured; times are counted at `nominal`."""
    for i in range(seconds * fps):
        yield Sent(i / fps, i / nominal, i // fps + 1.0)


@pytest.mark.parametrize(("fps", "nominal"), [(25, 25.0), (10, 25.0), (30, 25.0)])
def test_a_burst_is_spread_over_the_time_it_was_captured_in(fps: int, nominal: float) -> None:
    frames = list(burst(20, fps=fps, nominal=nominal))
    clock = SenderClock(COUNTED_S)
    placed = [clock.place(f.sent_s, now_s=f.now_s)[0] for f in frames][5 * fps :]
    steps = [b - a for a, b in itertools.pairwise(placed)]
    assert max(steps) < 2.5 / fps
    assert abs(placed[-1] - frames[-1].now_s) < 2 / fps


def test_a_rate_that_changes_is_followed_when_times_are_counted() -> None:
    """In the dark a camera halves its rate; the library goes on counting 25 a second."""
    true_s = [i / 25 for i in range(500)] + [20 + i / 12.5 for i in range(250)]
    frames = [Sent(t, i / 25, t) for i, t in enumerate(true_s)]
    off_s, breaks = errors(frames, SenderClock(COUNTED_S))
    assert len(breaks) <= 1
    assert max(map(abs, off_s)) < 3
    assert max(map(abs, off_s[-125:])) < 0.1


def test_what_a_sender_had_queued_does_not_pass_for_a_fast_clock() -> None:
    """A minute of frames in a fifth of a second, then live: the delay is that of the live ones."""
    frames = [Sent(f.true_s - 60, f.sent_s, max(f.true_s - 60, 0) + 0.2) for f in stream(90)]
    queued = [Sent(f.true_s, f.sent_s, i * 0.0001) for i, f in enumerate(frames[:1500])]
    off_s, _ = errors([*queued, *frames[1500:]])
    assert max(abs(off - 0.2) for off in off_s[1600:]) < 0.05


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e4)), max_size=200))
def test_whatever_comes_times_run_forward_in_bounded_memory(
    frames: list[tuple[float, float]],
) -> None:
    clock, before_s, now_s = SenderClock(), 0.0, 0.0
    for sent_s, passed_s in frames:
        now_s += passed_s
        time_s, _ = clock.place(sent_s, now_s=now_s)
        assert before_s <= time_s <= now_s
        before_s = time_s
    assert len(clock._points) <= PARTS + 1
