"""What does the pipeline cost over bare inference, at full load?

    python benchmarks/overhead.py BUNDLE --out overhead.json

Bare: one prepared clip, again and again. Pipeline: a 640x480 camera of 30 frames a second whose
every frame asks for an answer, so that the engine never rests. Both in turns, in one process;
`overhead` is how much longer an answer takes, the median of the rounds. Meaningful where an answer
takes longer than a frame.
"""

import argparse
import statistics
import time
from itertools import islice
from pathlib import Path

import numpy as np
from environment import environment, report
from turns import spread

import edge_tsm
from edge_tsm.sources import TestPattern


def bare_s(recognizer: edge_tsm.Recognizer, answers: int) -> float:
    """Return the seconds per answer of the engine and the clip's tensor alone."""
    crop = recognizer.prepare(np.zeros((480, 640, 3), np.uint8))
    clip = [crop] * recognizer.card.sampling.segments
    recognizer.predict(clip)
    started = time.perf_counter()
    for _ in range(answers):
        recognizer.predict(clip)
    return (time.perf_counter() - started) / answers


def pipeline_s(recognizer: edge_tsm.Recognizer, answers: int) -> float:
    """Return the seconds per answer of a camera that always has one more."""
    pattern = TestPattern(size=(640, 480), fps=30)
    pipeline = edge_tsm.Pipeline(pattern, recognizer, window_s=0.5, every_s=0.001)
    times = [time.perf_counter() for _ in islice(pipeline, answers + 1)]
    return (times[-1] - times[0]) / answers


def main() -> None:
    """Measure in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--answers", type=int, default=40, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, rounds = environment(), []
    with edge_tsm.load(given.bundle, engine=given.engine) as recognizer:
        for _ in range(given.rounds):
            rounds.append(
                (bare_s(recognizer, given.answers), pipeline_s(recognizer, given.answers))
            )
        bare_ms, pipeline_ms = ([1000 * s for s in side] for side in zip(*rounds, strict=True))
        results = {
            "model": recognizer.card.name,
            "engine": recognizer.backend.engine,
            "bare_ms": round(statistics.median(bare_ms), 2),
            "bare_ms_mad": spread(bare_ms),
            "pipeline_ms": round(statistics.median(pipeline_ms), 2),
            "pipeline_ms_mad": spread(pipeline_ms),
            "overhead": round(statistics.median(full / bare - 1 for bare, full in rounds), 4),
            "overhead_by_round": [round(full / bare - 1, 4) for bare, full in rounds],
        }
    report(results, before, given.out)


if __name__ == "__main__":
    main()
