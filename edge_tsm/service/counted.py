"""Everything that is counted of a run: `Monitor` owns it, and whoever tells of it asks there."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_tsm.datatypes import Counts, Prediction
from edge_tsm.sinks.base import RouteCounts

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STAGES = ("prepare", "queue", "inference", "latency")


@dataclass
class Histogram:
    """How many values were at most each of `BUCKETS_S`; not finite ones are left out.

    >>> histogram = Histogram()
    >>> for value_s in (0.02, 0.3, float("nan")):
    ...     histogram.add(value_s)
    >>> histogram.count, histogram.cumulative()[2:7]
    (2, [1, 1, 1, 1, 2])
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, value_s: float) -> None:
        """Count a value."""
        if math.isfinite(value_s):
            self.counts[bisect.bisect_left(BUCKETS_S, value_s)] += 1
            self.sum_s += value_s

    @property
    def count(self) -> int:
        """Of all values."""
        return sum(self.counts)

    def cumulative(self) -> list[int]:
        """Return for each bucket how many values are at most that; for infinity, all."""
        return [sum(self.counts[: index + 1]) for index in range(len(self.counts))]


@dataclass(frozen=True)
class AnswerTimes:
    """When an answer of a source came (clock), and the milliseconds of those of `STAGES` it had."""

    source: str
    time_s: float
    stages: Mapping[str, float]

    @classmethod
    def of(cls, prediction: Prediction, time_s: float) -> AnswerTimes:
        """Return those of an answer."""
        delay, taken = prediction.delay, {"inference": prediction.inference_ms}
        if delay is not None:
            taken |= {
                "prepare": delay.prepare_ms,
                "queue": delay.queue_ms,
                "latency": delay.latency_ms,
            }
        return cls(prediction.source or "", time_s, taken)


@dataclass(frozen=True)
class RunCounts:
    """Everything that was counted so far; every number only grows.

    `events` are starts by (source, class index), `answered_utc_s` are seconds since 1970 of each
    source's last answer, `times` are those of the newest answers, oldest first, `first_answer_s`
    are the seconds from the start of the process until its first answer was handed over.
    """

    sources: tuple[Counts, ...] = ()
    sinks: Mapping[str, RouteCounts] = field(default_factory=dict)
    events: Mapping[tuple[str, int], int] = field(default_factory=dict)
    answered_utc_s: Mapping[str, float] = field(default_factory=dict)
    inference: Histogram = field(default_factory=Histogram)
    latency: Mapping[str, Histogram] = field(default_factory=dict)
    times: tuple[AnswerTimes, ...] = ()
    first_answer_s: float | None = None
