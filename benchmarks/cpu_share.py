"""Which share of one core does a live run need, at 30 frames and 2 answers a second?

    python benchmarks/cpu_share.py BUNDLE --out cpu_share.json

CPU seconds of the whole process, engine included, per second of video; `source` is what making the
pictures costs without any edge-tsm pipeline, in place of a decode, and is not part of `share`.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

from environment import environment, report

import edge_tsm
from edge_tsm.sources import TestPattern


def source_share(seconds: float, fps: float) -> float:
    """Return the share of a core that the pictures alone need."""
    frames, cpu_s = TestPattern(size=(640, 480), fps=fps), time.process_time()
    for _ in islice(frames, int(seconds * fps)):
        pass
    return (time.process_time() - cpu_s) / seconds


def run_share(
    recognizer: edge_tsm.Recognizer, *, seconds: float, fps: float, every_s: float
) -> dict[str, float]:
    """Return the share of a core of a live run, after its window has filled."""
    pattern = TestPattern(size=(640, 480), fps=fps)
    pipeline = edge_tsm.Pipeline(pattern, recognizer, every_s=every_s)
    answers = iter(pipeline)
    next(answers)
    cpu_s, started, given, latencies = time.process_time(), time.perf_counter(), 0, []
    for answer in answers:
        given += 1
        latencies.append(answer.delay.latency_ms if answer.delay else 0.0)
        if time.perf_counter() - started >= seconds:
            break
    wall_s = time.perf_counter() - started
    [counts] = pipeline.counts()
    return {
        "process": (time.process_time() - cpu_s) / wall_s,
        "answers_per_s": given / wall_s,
        "latency_p50_ms": sorted(latencies)[len(latencies) // 2],
        "dropped": counts.dropped,
    }


def main() -> None:
    """Measure the pictures alone, and the whole run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--engine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before = environment()
    source = source_share(min(given.seconds, 10.0), given.fps)
    options = edge_tsm.RuntimeOptions(threads=given.threads)
    with edge_tsm.load(given.bundle, engine=given.engine, options=options) as recognizer:
        run = run_share(recognizer, seconds=given.seconds, fps=given.fps, every_s=given.every)
        name, engine = recognizer.card.name, recognizer.backend.engine
    figures = {key: round(value, 4) for key, value in run.items()}
    share = {"source": round(source, 4), "share": round(run["process"] - source, 4)}
    report({"model": name, "engine": engine, **figures, **share}, before, given.out)


if __name__ == "__main__":
    main()
