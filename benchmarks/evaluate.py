"""How much of an evaluation's time does the engine work, and what do worker threads change?

    python benchmarks/evaluate.py gestures.bundle val.txt --out evaluate.json

Every combination of decoding workers and engine threads runs the same clips `--repeat` times, in
turn. `engine_busy` near 1 means that decoding hides behind the engine.
"""

import argparse
import statistics
from pathlib import Path

from environment import environment, report

from edge_tsm import RuntimeOptions, load
from edge_tsm.data.clips import Dataset, read_dataset
from edge_tsm.evaluation.evaluate import evaluate
from edge_tsm.evaluation.views import ViewProtocol


def measure(bundle: Path, dataset: Dataset, workers: int, threads: int, engine: str | None) -> dict:
    """Evaluate once; return seconds per clip and the engine's share."""
    options = RuntimeOptions(threads=threads)
    with load(bundle, engine=engine, options=options) as recognizer:
        found = evaluate({"x": recognizer}, dataset, ViewProtocol(), workers=workers)
        engine = recognizer.backend.engine
    clips = len(found.answered)
    return {
        "engine": engine,
        "clips_per_s": clips / found.seconds,
        "engine_busy": found.engine_s / found.seconds,
    }


def main() -> None:
    """Measure all combinations and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("list", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--engine")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    before = environment()
    dataset = Dataset(read_dataset(arguments.list).samples[: arguments.clips])
    pairs = [(w, t) for w in arguments.workers for t in arguments.threads]
    runs = {pair: [] for pair in pairs}
    for _ in range(arguments.repeat):
        for pair in pairs:
            runs[pair].append(measure(arguments.bundle, dataset, *pair, arguments.engine))
    rows = []
    for (workers, threads), found in runs.items():
        row = {"workers": workers, "threads": threads, "engine": found[0]["engine"]}
        for key in ("clips_per_s", "engine_busy"):
            values = [run[key] for run in found]
            row[key] = {"median": statistics.median(values), "all": values}
        rows.append(row)
        print(
            f"{workers} workers, {threads} engine threads: "
            f"{row['clips_per_s']['median']:.1f} clips/s, "
            f"engine busy {row['engine_busy']['median']:.0%}"
        )
    report({"clips": len(dataset), "rows": rows}, before, arguments.out)


if __name__ == "__main__":
    main()
