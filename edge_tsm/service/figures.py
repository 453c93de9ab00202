"""The health of a run in figures: sources, stages, sinks, the machine; for people and programs."""

from __future__ import annotations

import platform
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import edge_tsm
from edge_tsm.datatypes import Counts, iso
from edge_tsm.service.counted import AnswerTimes, RunCounts
from edge_tsm.service.running import Running
from edge_tsm.service.stats import SourceFigures, stage_figures
from edge_tsm.system.jsontext import to_json
from edge_tsm.system.load import disk, load_1, memory, temperature_c
from edge_tsm.system.machine import processor, usable_cores
from edge_tsm.system.redact import redact

KEPT = 200  # newest answers that percentiles are of
SPAN_S = 2.0


class Figures:
    """Says how a run is; for any thread.

    Rates are of the last `SPAN_S` seconds or more, percentiles of the last `KEPT` answers.
    """

    def __init__(self, running: Running) -> None:
        self._running, self._lock = running, threading.Lock()
        self._began_s = time.monotonic()
        self._glances = deque([self._glance()], maxlen=2)

    def report(self) -> dict[str, Any]:
        """Return all figures, JSON-ready."""
        with self._lock:
            now = self._glance()
            before = self._glances[0]
            if now.time_s - self._glances[-1].time_s >= SPAN_S:
                before = self._glances[-1]
                self._glances.append(now)
        span_s, counted = max(now.time_s - before.time_s, 1e-3), now.counted
        times, earlier = counted.times[-KEPT:], {c.source: c for c in before.counted.sources}
        return {
            "utc": iso(datetime.now(timezone.utc)),
            "span_s": round(span_s, 2),
            "uptime_s": round(now.time_s - self._began_s, 1),
            "sources": [
                _source(earlier.get(one.source), one, span_s)
                | {"latency": _latency([t for t in times if t.source == one.source])}
                for one in counted.sources
            ],
            "losses": {
                one.source: {k: getattr(one, k) for k in ("dropped", "skipped", "breaks")}
                for one in counted.sources
            },
            "stages": {name: asdict(found) for name, found in stage_figures(times).items()},
            "sinks": [{"name": n, **asdict(c)} for n, c in counted.sinks.items()],
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
        return _Glance(time.monotonic(), time.process_time(), self._running.monitor.counted())

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


@dataclass(frozen=True)
class _Glance:
    """What was counted at a time; rates are taken between two."""

    time_s: float
    cpu_s: float
    counted: RunCounts


def _latency(times: Sequence[AnswerTimes]) -> dict[str, float] | None:
    found = stage_figures(times).get("latency")
    return asdict(found) if found else None


def _source(before: Counts | None, now: Counts, span_s: float) -> dict[str, Any]:
    rates = SourceFigures.between(before, now, span_s)
    return {
        "source": now.source,
        "address": now.address,
        "state": now.state,
        "state_s": round(now.state_s, 1),
        "frames_per_s": rates.frames_per_s,
        "answers_per_s": rates.answers_per_s,
        **{k: getattr(now, k) for k in ("frames", "answers", "dropped", "skipped", "breaks")},
    }
