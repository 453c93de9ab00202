"""What Prometheus reads: a run's counters, made into series when they are asked for.

Sources are named by their ids, classes by their labels, the number of series is fixed by both, and
nothing is counted twice: the numbers are those of `Monitor.counted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from edge_tsm.datatypes import SourceState
from edge_tsm.service.counted import BUCKETS_S, Histogram, RunCounts
from edge_tsm.service.monitor import Monitor

MOST_LABELS = 64  # with series of their own; the events of the others are summed up
OTHER = "(other)"
_LOSSES = {"dropped": "frame dropped", "skipped": "window skipped", "breaks": "break"}


class RunCollector(Collector):
    """Makes metrics of a run's figures.

    Args:
        monitor: of the run.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        facts = monitor.facts
        self._named = {index: facts.labels[index] for index in facts.actions[:MOST_LABELS]}
        self._has_other = len(facts.actions) > MOST_LABELS

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        counted, health = self._monitor.counted(), self._monitor.health()
        yield self._build_info()
        ready = "1 when the engine is ready and every enabled source answered in time."
        yield GaugeMetricFamily("edge_tsm_ready", ready, value=float(health.ready))
        yield from self._of_sources(counted)
        yield self._states(counted)
        yield self._events(counted)
        inference = HistogramMetricFamily("edge_tsm_inference_seconds", "The engine call alone.")
        _add(inference, [], counted.inference)
        yield inference
        text = "From the capture of the newest frame to the answer."
        latency = HistogramMetricFamily("edge_tsm_latency_seconds", text, labels=["source"])
        for source, histogram in counted.latency.items():
            _add(latency, [source], histogram)
        yield latency
        yield from _of_sinks(counted)

    def _build_info(self) -> Metric:
        facts = self._monitor.facts
        names = ("version", "bundle", "artifact", "sha256", "engine", "device")
        family = GaugeMetricFamily("edge_tsm_build_info", "What runs; always 1.", labels=names)
        family.add_metric([getattr(facts, name) for name in names], 1.0)
        return family

    def _of_sources(self, counted: RunCounts) -> Iterator[Metric]:
        frames = _counter("frames", "Frames that a source delivered.", "source")
        answers = _counter("answers", "Answers given.", "source")
        losses = _counter("losses", "What was lost, by reason.", "source", "reason")
        up = _gauge("source_up", "1 while frames come, and are not frozen or black.", "source")
        enabled = _gauge("source_enabled", "0 for a source that was switched off.", "source")
        text = "Time of the last answer, in seconds since 1970; 0 before the first."
        last = _gauge("last_answer_timestamp_seconds", text, "source")
        switched = self._monitor.enabled()
        for counts in counted.sources:
            source = counts.source
            frames.add_metric([source], counts.frames)
            answers.add_metric([source], counts.answers)
            for name, reason in _LOSSES.items():
                losses.add_metric([source, reason], getattr(counts, name))
            up.add_metric([source], float(counts.state == "live"))
            enabled.add_metric([source], float(switched.get(source, True)))
            last.add_metric([source], counted.answered_utc_s.get(source, 0.0))
        yield from (frames, answers, losses, up, enabled, last)

    def _states(self, counted: RunCounts) -> Metric:
        name, text = "edge_tsm_source_state", "The state that a source is in."
        family = StateSetMetricFamily(name, text, labels=["source"])
        for counts in counted.sources:
            states = {state: state == counts.state for state in get_args(SourceState)}
            family.add_metric([counts.source], states)
        return family

    def _events(self, counted: RunCounts) -> Metric:
        """Return the starts by source and label; each pair is there from the beginning."""
        family = _counter("events", "Actions that started.", "source", "label")
        sources = [counts.source for counts in counted.sources]
        for source in sources:
            for index, label in self._named.items():
                family.add_metric([source, label], counted.events.get((source, index), 0))
            if self._has_other:
                other = (
                    count
                    for (of, index), count in counted.events.items()
                    if of == source and index not in self._named
                )
                family.add_metric([source, OTHER], sum(other))
        return family


def registry_of(monitor: Monitor) -> CollectorRegistry:
    """Return a registry with the metrics of a run, and those of the process."""
    registry = CollectorRegistry()
    registry.register(RunCollector(monitor))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """Return the metrics as text, and its content type, in a format that `accept` names."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"edge_tsm_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"edge_tsm_{name}", text, labels=labels)


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    buckets = [*zip(bounds, map(float, histogram.cumulative()), strict=True)]
    family.add_metric(labels, buckets, histogram.sum_s)


def _of_sinks(counted: RunCounts) -> Iterator[Metric]:
    delivered = _counter("sink_delivered", "What a sink delivered.", "sink")
    lost = _counter("sink_losses", "What a sink did not deliver, by reason.", "sink", "reason")
    pending = _gauge("sink_pending", "What a sink is to deliver still.", "sink")
    for sink, counts in counted.sinks.items():
        delivered.add_metric([sink], counts.delivered)
        lost.add_metric([sink, "dropped"], counts.dropped)
        lost.add_metric([sink, "failed"], counts.failed)
        pending.add_metric([sink], counts.pending)
    yield from (delivered, lost, pending)
