"""Live windows are spread over seconds, whatever the rate of the camera."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.live.timing import TimeWindow


def feed(window: TimeWindow[float], times_s: list[float]) -> None:
    for time_s in times_s:
        window.push(time_s, time_s)


def test_no_clip_before_the_window_is_full() -> None:
    window: TimeWindow[float] = TimeWindow(4, 2.0)
    assert window.clip() is None
    feed(window, [i / 10 for i in range(20)])
    assert window.clip() is None
    feed(window, [2.0])
    clip = window.clip()
    assert clip is not None
    assert [item for _, item in clip] == pytest.approx([0.25, 0.75, 1.25, 1.75], abs=0.051)


@given(st.lists(st.floats(0.01, 0.15), min_size=60, max_size=120))
def test_segments_lie_where_the_seconds_are_whatever_the_rate(steps: list[float]) -> None:
    window: TimeWindow[float] = TimeWindow(8, 2.0)
    now = 0.0
    for step in steps:
        now += step
        window.push(now, now)
    clip = window.clip()
    if clip is None:
        assert sum(steps[1:]) < 2.0 + 1e-9
        return
    centers = [now - 2.0 + (i + 0.5) * 0.25 for i in range(8)]
    assert all(abs(t - c) <= 0.15 for (t, _), c in zip(clip, centers, strict=True))


@pytest.mark.parametrize("jump", [0.8, -0.1])
def test_a_gap_or_a_step_back_empties_the_window(jump: float) -> None:
    window: TimeWindow[float] = TimeWindow(8, 2.0)
    feed(window, [i / 20 for i in range(50)])
    assert window.clip() is not None
    window.push(49 / 20 + jump, 0.0)
    assert window.clip() is None


def test_old_frames_are_let_go() -> None:
    window: TimeWindow[int] = TimeWindow(8, 1.0)
    for i in range(10_000):
        window.push(i / 30, i)
    assert len(window._items) <= 32


def test_items_of_wanted_ages_are_found_at_any_rate() -> None:
    ages_s = [3.0, 2.0, 1.0, 0.0]
    for rate in (7, 15, 30):
        window: TimeWindow[float] = TimeWindow(4, 3.1, ages_s=ages_s)
        feed(window, [i / rate for i in range(4 * rate + 1)])
        clip = window.clip()
        assert clip is not None
        found = [4.0 - time_s for time_s, _ in clip]
        assert found == pytest.approx(ages_s, abs=0.5 / rate + 1e-9)
