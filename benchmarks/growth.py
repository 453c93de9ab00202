"""How does the time of a clip grow with batch, frames, threads, and picture size?

    python benchmarks/growth.py --out results/growth.json

One network (untrained), f32, bf16 and int8 by engine: 1 to 8 clips in one run, 8 and 16 frames,
one thread and two, pictures of 112 to 256 pixels. Times are per clip: a batch pays where its curve
falls.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from environment import environment, report
from networks import answer, make_bundle, opened
from plots import lines
from turns import Run, in_turns, told

from converters import Options

BATCHES, SEGMENTS, THREADS, SIZES = (1, 2, 4, 8), (8, 16), (1, 2), (112, 160, 224, 256)
Curves = dict[str, dict[int, list[float]]]  # by artifact and number: every round


def curves(runs: dict[tuple[str, int], Run], *, rounds: int) -> Curves:
    """Time runs that are named by artifact and by a number; return milliseconds by both."""
    found = in_turns({f"{name}|{count}": run for (name, count), run in runs.items()}, rounds=rounds)
    result: Curves = {}
    for key, times in found.rounds.items():
        name, count = key.split("|")
        result.setdefault(name, {})[int(count)] = times
    return result


def measure(arch: str, folder: Path, rounds: int) -> dict[str, Curves]:
    """Measure all growths; batches are told per clip."""

    def grown(bundles: dict[int, Path]) -> Curves:
        return curves(
            {(name, value): answer(recognizer)
             for value, bundle in bundles.items() for name, recognizer in opened(bundle)},
            rounds=rounds,
        )  # fmt: skip

    def made(**options: Any) -> Path:
        return make_bundle(folder, arch, Options(**options))[1]

    batches = grown({count: made(batch=count) for count in BATCHES})
    plain = made()
    threads = {
        (name, count): answer(recognizer)
        for count in THREADS
        for name, recognizer in opened(plain, threads=count)
    }
    return {
        "batch": {
            name: {count: [ms / count for ms in times] for count, times in curve.items()}
            for name, curve in batches.items()
        },
        "frames": grown({count: made(segments=count) for count in SEGMENTS}),
        "threads": curves(threads, rounds=rounds),
        "size": grown({px: make_bundle(folder, arch, size_px=px)[1] for px in SIZES}),
    }


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="mobilenetv2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before = environment()
    with tempfile.TemporaryDirectory() as folder:
        grown = measure(given.arch, Path(folder), given.rounds)
    found = {
        key: {
            growth: {name: told("ms", curve)[key] for name, curve in curves.items()}
            for growth, curves in grown.items()
        }
        for key in ("ms", "ms_mad")
    }
    results = {"ms_per_clip": found["ms"], "ms_per_clip_mad": found["ms_mad"]}
    report({"arch": given.arch, **results}, before, given.out)
    if given.out:
        across = {
            "batch": "clips in one run",
            "frames": "frames per clip",
            "threads": "threads",
            "size": "picture side, pixels",
        }
        lines(found["ms"], given.out.with_suffix(".png"), unit="ms per clip", across=across)


if __name__ == "__main__":
    main()
