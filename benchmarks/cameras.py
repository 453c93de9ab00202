"""How do answers per second and latency grow with 1, 2, 4 and 8 sources?

    python benchmarks/cameras.py BUNDLE --out cameras.json

Each source is a 640x480 camera of 15 frames a second that asks for 2 answers a second. Bundles made
with `convert --batch N` answer N sources in one run of the engine.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from environment import environment, report

import edge_tsm
from edge_tsm.sources import TestPattern


def measure(recognizer: edge_tsm.Recognizer, sources: int, seconds: float) -> dict[str, object]:
    """Return rates and latencies of so many sources, after their windows have filled."""
    patterns = [TestPattern(size=(640, 480), fps=15) for _ in range(sources)]
    pipeline = edge_tsm.Pipeline(patterns, recognizer, window_s=1.0, every_s=0.5)
    latencies, started = list[float](), None
    for answer in pipeline:
        started = started or time.perf_counter()
        if time.perf_counter() - started > seconds:
            break
        latencies.append(answer.delay.latency_ms if answer.delay else 0.0)
    counts = pipeline.counts()
    answers = [count.answers for count in counts]
    p50, p95 = np.percentile(latencies, (50, 95))
    return {
        "answers_per_s": round(len(latencies) / seconds, 2),
        "wanted_per_s": 2.0 * sources,
        "latency_p50_ms": round(float(p50), 1),
        "latency_p95_ms": round(float(p95), 1),
        "least_and_most_answers": [min(answers), max(answers)],
        "skipped": sum(count.skipped for count in counts),
        "dropped_frames": sum(count.dropped for count in counts),
    }


def main() -> None:
    """Measure each number of sources in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engine")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {}
    with edge_tsm.load(given.bundle, engine=given.engine) as recognizer:
        for sources in given.sources:
            results[str(sources)] = measure(recognizer, sources, given.seconds)
        results["model"] = {
            "name": recognizer.card.name,
            "engine": recognizer.backend.engine,
            "batch": recognizer.card.input.shape[0],
        }
    report(results, before, given.out)


if __name__ == "__main__":
    main()
