"""Figures of a running pipeline: rates, losses, and how long each stage takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edge_tsm.datatypes import Counts
from edge_tsm.service.counted import STAGES, AnswerTimes, RunCounts
from edge_tsm.sources.names import describe_source


@dataclass(frozen=True)
class SourceFigures:
    """One source since the last report: rates per second, and what was lost in that time."""

    source: str
    state: str
    frames_per_s: float
    answers_per_s: float
    dropped: int
    skipped: int
    breaks: int
    address: str = ""

    @classmethod
    def between(cls, before: Counts | None, now: Counts, span_s: float) -> SourceFigures:
        """Return what became of a source in the `span_s` seconds between two counts."""
        grown = {
            name: getattr(now, name) - (getattr(before, name) if before else 0)
            for name in ("frames", "answers", "dropped", "skipped", "breaks")
        }
        frames, answers = grown.pop("frames"), grown.pop("answers")
        span_s = max(span_s, 1e-9)
        return cls(
            now.source,
            now.state,
            frames_per_s=round(frames / span_s, 2),
            answers_per_s=round(answers / span_s, 2),
            **grown,
            address=now.address,
        )


@dataclass(frozen=True)
class StageFigures:
    """Milliseconds of one stage: median and 95th percentile of some answers."""

    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, times_ms: Collection[float]) -> StageFigures:
        """Return those of some times, of one at least."""
        p50, p95 = np.percentile(np.fromiter(times_ms, float), (50, 95))
        return cls(round(float(p50), 3), round(float(p95), 3))


def stage_figures(answers: Iterable[AnswerTimes]) -> dict[str, StageFigures]:
    """Return the figures of each stage that some answers had."""
    all_stages = [times.stages for times in answers]
    found = {name: [of[name] for of in all_stages if name in of] for name in STAGES}
    return {name: StageFigures.of(times_ms) for name, times_ms in found.items() if times_ms}


@dataclass(frozen=True)
class StatsReport:
    """What happened in the `span_s` seconds since the last report.

    `undelivered` are the answers, events or pictures that each sink lost since the start, `pending`
    those that it is to deliver still.
    """

    span_s: float
    sources: tuple[SourceFigures, ...]
    stages: dict[str, StageFigures]
    undelivered: dict[str, int]
    pending: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return one line per source, and one of the stages."""
        times = [f"{k} {v.p50_ms:.0f}/{v.p95_ms:.0f}" for k, v in self.stages.items()]
        lost = [f"{name} lost {count}" for name, count in self.undelivered.items() if count]
        lost += [f"{name} has {count} to deliver" for name, count in self.pending.items() if count]
        tail = ", ".join([*lost, *([f"ms (p50/p95): {', '.join(times)}"] if times else [])])
        return [*map(_line, self.sources), *([f"  {tail}"] if tail else [])]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return asdict(self)


class Stats:
    """Makes a report of a run when asked, each of what happened since the one before.

    Args:
        counted: returns what was counted so far.
        now_s: the monotonic time at which the first report begins.
    """

    def __init__(self, counted: Callable[[], RunCounts], now_s: float) -> None:
        self._counted, self._lock = counted, threading.Lock()
        self._since_s, self._before = now_s, dict[str, Counts]()

    def report(self, now_s: float) -> StatsReport:
        """Return the figures since the last report, and start the next one at this time."""
        counted = self._counted()
        with self._lock:
            since_s, self._since_s = self._since_s, now_s
            before, self._before = self._before, {c.source: c for c in counted.sources}
        span_s, sinks = now_s - since_s, counted.sinks.items()
        return StatsReport(
            span_s,
            tuple(
                SourceFigures.between(before.get(now.source), now, span_s)
                for now in counted.sources
            ),
            stage_figures(times for times in counted.times if times.time_s > since_s),
            {name: counts.dropped + counts.failed for name, counts in sinks},
            {name: counts.pending for name, counts in sinks},
        )


def _line(figures: SourceFigures) -> str:
    lost = [
        f"{count} {name}"
        for name, count in (
            ("dropped", figures.dropped),
            ("skipped", figures.skipped),
            ("breaks", figures.breaks),
        )
        if count
    ]
    rates = f"{figures.frames_per_s:.1f} frames/s, {figures.answers_per_s:.1f} answers/s"
    name = describe_source(figures.source, figures.address)
    return ", ".join([f"{name} {figures.state}: {rates}", *lost])
