"""The health of a run in figures: sources, stages, sinks, the machine; for people and programs."""

from __future__ import annotations

import platform
import threading
import time
from collections import deque
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import edge_tsm
from edge_tsm.datatypes import Counts, Prediction, iso
from edge_tsm.service.running import Running
from edge_tsm.service.stats import STAGES, StageFigures, stage_times
from edge_tsm.system.jsontext import to_json
from edge_tsm.system.load import disk, load_1, memory, temperature_c
from edge_tsm.system.machine import processor, usable_cores
from edge_tsm.system.redact import redact

KEPT = 200  # newest answers that percentiles are of
SPAN_S = 2.0


class Figures:
    """Counts answers, and says how a run is; for any thread.

    Rates are of the last `SPAN_S` seconds or more, percentiles of the last `KEPT` answers.
    """

    def __init__(self, running: Running) -> None:
        self._running, self._lock = running, threading.Lock()
        self._times = {stage: deque[float](maxlen=KEPT) for stage in STAGES}
        self._began_s = time.monotonic()
        now = self._glance()
        self._glances = deque([now], maxlen=2)

    def answered(self, prediction: Prediction) -> None:
        """Count the times of one answer."""
        with self._lock:
            for stage, value_ms in stage_times(prediction).items():
                self._times[stage].append(value_ms)

    def report(self) -> dict[str, Any]:
        """Return all figures, JSON-ready."""
        with self._lock:
            now = self._glance()
            before = self._glances[0]
            if now.time_s - self._glances[-1].time_s >= SPAN_S:
                before = self._glances[-1]
                self._glances.append(now)
            stages = {
                k: asdict(StageFigures.of(times)) for k, times in self._times.items() if times
            }
        span_s = max(now.time_s - before.time_s, 1e-3)
        return {
            "utc": iso(datetime.now(timezone.utc)),
            "span_s": round(span_s, 2),
            "uptime_s": round(now.time_s - self._began_s, 1),
            "sources": [
                _source(counts, before.counts.get(name), span_s)
                for name, counts in now.counts.items()
            ],
            "losses": {
                name: {k: getattr(counts, k) for k in ("dropped", "skipped", "breaks")}
                for name, counts in now.counts.items()
            },
            "stages": stages,
            "sinks": [{"name": n, **asdict(c)} for n, c in self._running.sinks().items()],
            "machine": self._machine(100 * (now.cpu_s - before.cpu_s) / span_s),
        }

    def text(self) -> str:
        """Return a report for people to copy, without secrets."""
        card, backend = self._running.recognizer.card, self._running.recognizer.backend
        facts = {
            "edge-tsm": edge_tsm.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor().model,
            "model": card.name,
            "engine": f"{backend.engine} {backend.device}",
            "started": iso(self._running.started_utc),
        }
        lines = [f"{name}: {redact(str(value))}" for name, value in facts.items()]
        return "\n".join([*lines, to_json(self.report(), indent=1), ""])

    def _glance(self) -> _Glance:
        counts = {c.source: c for c in self._running.counts()}
        return _Glance(time.monotonic(), time.process_time(), counts)

    def _machine(self, cpu_percent: float) -> dict[str, Any]:
        found = memory()
        folders = {name: disk(path) for name, path in self._running.folders.items()}
        return {
            "cpu_percent": round(cpu_percent, 1),
            "cores": usable_cores(),
            "load_1": load_1(),
            "memory_mb": found.used_mb,
            "memory_total_mb": found.total_mb,
            "memory_free_mb": found.free_mb,
            "temperature_c": temperature_c(),
            "disks": [{"what": name, **asdict(room)} for name, room in folders.items() if room],
        }


class _Glance:
    """Counts at a time, which rates are taken between."""

    def __init__(self, time_s: float, cpu_s: float, counts: dict[str, Counts]) -> None:
        self.time_s, self.cpu_s, self.counts = time_s, cpu_s, counts


def _source(now: Counts, before: Counts | None, span_s: float) -> dict[str, Any]:
    frames, answers = (before.frames, before.answers) if before else (0, 0)
    return {
        "source": now.source,
        "address": now.address,
        "state": now.state,
        "state_s": round(now.state_s, 1),
        "frames_per_s": round((now.frames - frames) / span_s, 2),
        "answers_per_s": round((now.answers - answers) / span_s, 2),
        **{k: getattr(now, k) for k in ("frames", "answers", "dropped", "skipped", "breaks")},
    }
