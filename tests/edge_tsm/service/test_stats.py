"""Figures since the last report, of constant size."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_tsm.datatypes import Counts, Delay
from edge_tsm.service.counted import AnswerTimes, RunCounts
from edge_tsm.service.stats import Stats
from edge_tsm.sinks.base import RouteCounts
from tests.helpers.answers import says

COUNTS = Counts("cam", "live", frames=300, dropped=4, answers=20, skipped=1, breaks=0)


class Counted:
    """A run that has counted what `now` is."""

    def __init__(self, now: RunCounts) -> None:
        self.now = now

    def __call__(self) -> RunCounts:
        return self.now


def test_rates_are_those_since_the_last_report() -> None:
    run = Counted(RunCounts((COUNTS,)))
    stats = Stats(run, 100.0)
    stats.report(110.0)
    later = replace(COUNTS, frames=450, answers=40, dropped=4, breaks=1)
    run.now = RunCounts((later,))
    [figures] = stats.report(115.0).sources
    assert (figures.frames_per_s, figures.answers_per_s) == (30, 4)
    assert (figures.dropped, figures.skipped, figures.breaks) == (0, 0, 1)


def test_percentiles_by_stage_are_of_the_answers_since_the_last_report() -> None:
    def times(ms: int) -> AnswerTimes:
        delay = Delay(prepare_ms=1, queue_ms=2, latency_ms=float(ms))
        return AnswerTimes.of(replace(says("wave", 0), delay=delay, inference_ms=10.0), ms / 20)

    sinks = {
        "webhook": RouteCounts(delivered=9, dropped=1, failed=2, pending=2),
        "output": RouteCounts(9, 0, 0),
    }
    run = Counted(RunCounts((COUNTS,), sinks, times=tuple(map(times, range(1, 101)))))
    stats = Stats(run, 0.0)
    report = stats.report(10.0)
    assert report.stages["latency"].p50_ms == pytest.approx(50.5)
    assert report.stages["latency"].p95_ms == pytest.approx(95.05)
    assert report.lines() == [
        "cam live: 30.0 frames/s, 2.0 answers/s, 4 dropped, 1 skipped",
        "  webhook lost 3, webhook has 2 to deliver, "
        "ms (p50/p95): prepare 1/1, queue 2/2, inference 10/10, latency 50/95",
    ]
    assert json.loads(json.dumps(report.to_json()))["span_s"] == 10.0
    assert stats.report(20.0).stages == {}


def test_a_report_of_no_time_at_all() -> None:
    assert Stats(RunCounts, 5.0).report(5.0).lines() == []
