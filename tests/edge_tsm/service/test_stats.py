"""Figures since the last report, of constant size."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_tsm.datatypes import Counts, Delay
from edge_tsm.service.stats import KEPT, Stats
from tests.helpers.answers import says

COUNTS = Counts("cam", "live", frames=300, dropped=4, answers=20, skipped=1, breaks=0)


def test_rates_are_those_since_the_last_report() -> None:
    stats = Stats(100.0)
    stats.report(110.0, [COUNTS])
    later = replace(COUNTS, frames=450, answers=40, dropped=4, breaks=1)
    [figures] = stats.report(115.0, [later]).sources
    assert (figures.frames_per_s, figures.answers_per_s) == (30, 4)
    assert (figures.dropped, figures.skipped, figures.breaks) == (0, 0, 1)


def test_percentiles_by_stage() -> None:
    stats = Stats(0.0)
    for ms in range(1, 101):
        delay = Delay(prepare_ms=1, queue_ms=2, latency_ms=float(ms))
        stats.add(replace(says("wave", 0), delay=delay, inference_ms=10.0))
    report = stats.report(
        10.0, [COUNTS], undelivered={"webhook": 3, "output": 0}, pending={"webhook": 2}
    )
    assert report.stages["latency"].p50_ms == pytest.approx(50.5)
    assert report.stages["latency"].p95_ms == pytest.approx(95.05)
    assert report.lines() == [
        "cam live: 30.0 frames/s, 2.0 answers/s, 4 dropped, 1 skipped",
        "  webhook lost 3, webhook has 2 to deliver, "
        "ms (p50/p95): prepare 1/1, queue 2/2, inference 10/10, latency 50/95",
    ]
    assert json.loads(json.dumps(report.to_json()))["span_s"] == 10.0
    assert stats.report(20.0, [COUNTS]).stages == {}


def test_answers_without_reports_do_not_grow() -> None:
    stats = Stats(0.0)
    for _ in range(2 * KEPT):
        stats.add(says("wave", 0))
    assert len(stats._times["inference"]) == KEPT


def test_a_report_of_no_time_at_all() -> None:
    assert Stats(5.0).report(5.0, []).lines() == []
