"""Figures of a running pipeline: rates, losses, and how long each stage takes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edge_tsm.datatypes import Counts, Prediction
from edge_tsm.sources.names import describe_source

KEPT = 1000  # newest answers that percentiles are taken from
STAGES = ("prepare", "queue", "inference", "latency")


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


@dataclass(frozen=True)
class StageFigures:
    """Milliseconds of one stage: median and 95th percentile of the answers since the report."""

    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, times_ms: Collection[float]) -> StageFigures:
        """Return those of some times, of one at least."""
        p50, p95 = np.percentile(np.fromiter(times_ms, float), (50, 95))
        return cls(round(float(p50), 3), round(float(p95), 3))


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


def stage_times(prediction: Prediction) -> dict[str, float]:
    """Return the milliseconds that each stage of an answer took, of `STAGES` those that it had."""
    delay, taken = prediction.delay, {"inference": prediction.inference_ms}
    if delay is not None:
        taken |= {
            "prepare": delay.prepare_ms,
            "queue": delay.queue_ms,
            "latency": delay.latency_ms,
        }
    return taken


class Stats:
    """Takes every answer, and makes a report when asked; of constant size, for any thread.

    Args:
        now_s: the monotonic time at which counting starts.
    """

    def __init__(self, now_s: float) -> None:
        self._lock = threading.Lock()
        self._since_s = now_s
        self._times = {stage: deque[float](maxlen=KEPT) for stage in STAGES}
        self._before: dict[str, Counts] = {}

    def add(self, prediction: Prediction) -> None:
        """Count the times of one answer."""
        with self._lock:
            for stage, value_ms in stage_times(prediction).items():
                self._times[stage].append(value_ms)

    def report(
        self,
        now_s: float,
        counts: Iterable[Counts],
        *,
        undelivered: Mapping[str, int] | None = None,
        pending: Mapping[str, int] | None = None,
    ) -> StatsReport:
        """Return the figures since the last report, and start the next one.

        Args:
            now_s: the monotonic time.
            counts: those of every source, which only grow.
            undelivered, pending: items per sink, from `Dispatcher.counts`.
        """
        with self._lock:
            span_s, self._since_s = now_s - self._since_s, now_s
            sources = tuple(self._of_source(now, max(span_s, 1e-9)) for now in counts)
            stages = {k: StageFigures.of(times) for k, times in self._times.items() if times}
            for times in self._times.values():
                times.clear()
        return StatsReport(span_s, sources, stages, dict(undelivered or {}), dict(pending or {}))

    def _of_source(self, now: Counts, span_s: float) -> SourceFigures:
        before = self._before.get(now.source)
        self._before[now.source] = now

        def grown(name: str) -> int:
            return int(getattr(now, name)) - (int(getattr(before, name)) if before else 0)

        return SourceFigures(
            source=now.source,
            state=now.state,
            frames_per_s=round(grown("frames") / span_s, 2),
            answers_per_s=round(grown("answers") / span_s, 2),
            dropped=grown("dropped"),
            skipped=grown("skipped"),
            breaks=grown("breaks"),
            address=now.address,
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
