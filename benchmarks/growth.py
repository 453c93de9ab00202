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
from turns import Run, in_turns

from converters import Options

BATCHES, SEGMENTS, THREADS, SIZES = (1, 2, 4, 8), (8, 16), (1, 2), (112, 160, 224, 256)
Curves = dict[str, dict[int, float]]


def curves(runs: dict[tuple[str, int], Run], *, rounds: int) -> Curves:
    """Time runs that are named by artifact and by a number; return milliseconds by both."""
    found = in_turns({f"{name}|{count}": run for (name, count), run in runs.items()}, rounds=rounds)
    result: Curves = {}
    for key, ms in found.ms().items():
        name, count = key.split("|")
        result.setdefault(name, {})[int(count)] = ms
    return result


def measure(arch: str, folder: Path, rounds: int) -> dict[str, Curves]:
    """Measure all growths; batches are told per clip."""

    def grown(bundles: dict[int, Path]) -> Curves:
        return curves(
            {(told, value): answer(recognizer)
             for value, bundle in bundles.items() for told, recognizer in opened(bundle)},
            rounds=rounds,
        )  # fmt: skip

    def made(**options: Any) -> Path:
        return make_bundle(folder, arch, Options(**options))[1]

    batches = grown({count: made(batch=count) for count in BATCHES})
    plain = made()
    threads = {
        (told, count): answer(recognizer)
        for count in THREADS
        for told, recognizer in opened(plain, threads=count)
    }
    return {
        "batch": {
            told: {count: round(ms / count, 3) for count, ms in curve.items()}
            for told, curve in batches.items()
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
        results = measure(given.arch, Path(folder), given.rounds)
    report({"arch": given.arch, "ms_per_clip": results}, before, given.out)
    if given.out:
        across = {
            "batch": "clips in one run",
            "frames": "frames per clip",
            "threads": "threads",
            "size": "picture side, pixels",
        }
        lines(results, given.out.with_suffix(".png"), unit="ms per clip", across=across)


if __name__ == "__main__":
    main()
