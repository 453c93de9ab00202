"""How many more clips a second does an engine answer when it is given several at a time?

    python benchmarks/throughput.py [BUNDLE ...] --out results/throughput.json

For each bundle (by default untrained int8 of ResNet-50 and MobileNetV2, converted here) and each
engine, `predict_many` answers the same clips one at a time (latency mode: all threads on one clip)
and several at a time (`aim="throughput"`), in turns. Clips a second, the 95th percentile of what a
clip takes, the ratio within each round, and whether the answers are equal to the bit. What one
thread alone does, times the threads, over latency mode is the most that could be gained: where all
threads share a clip well, several at a time have nothing to give.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report
from turns import spread, told

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Rate, measured
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import physical_cores


def measure(
    bundle: Path, card: Card, variant: Variant, *, rounds: int, least_s: float
) -> dict[str, Any]:
    """Open the variant each way, and visit all in every round."""
    threads = max(physical_cores(), 2)
    wide = RuntimeOptions(threads=threads, streams=threads)
    ways = {
        "one at a time": replace(wide, streams=1),
        "several": wide,
        "one thread": RuntimeOptions(threads=1),
    }
    with ExitStack() as stack:
        opened = {
            way: stack.enter_context(open_variant(bundle, card, variant, options))
            for way, options in ways.items()
        }
        equal, worst = compared(opened["one at a time"], opened["several"])
        found: dict[str, list[Rate]] = {way: [] for way in ways}
        for turn in range(rounds):
            for way in list(ways)[:: -1 if turn % 2 else 1]:
                found[way].append(measured(opened[way], least_s=least_s))
    rates = {way: [rate.clips_per_s for rate in each] for way, each in found.items()}
    one = rates["one at a time"]
    faster, alone = (
        [a / b for a, b in zip(rates[way], one, strict=True)] for way in ("several", "one thread")
    )
    return {
        "streams": threads,
        **{way: _told(rates) for way, rates in found.items()},
        **told("times_faster", {"several": faster}),
        "most": round(threads * statistics.median(alone), 3),
        "equal_to_the_bit": equal,
        "worst_difference": worst,
    }


def compared(one: Recognizer, other: Recognizer) -> tuple[bool, float]:
    """Return whether both answer clips of noise alike, in the same order, and by how much not."""
    card, random = one.card, np.random.default_rng(0)
    size = card.preprocess.crop_px
    shape = (8, card.sampling.segments, size, size, 3)
    clips = [list(clip) for clip in random.integers(0, 256, shape, np.uint8)]
    left, right = (
        np.stack([a.logits for a in model.predict_many(clips)]) for model in (one, other)
    )
    return bool(np.array_equal(left, right)), float(np.abs(left - right).max())


def _told(rates: list[Rate]) -> dict[str, float]:
    clips_per_s = [rate.clips_per_s for rate in rates]
    return {
        "clips_per_s": round(statistics.median(clips_per_s), 2),
        "clips_per_s_mad": spread(clips_per_s),
        "p95_ms": round(statistics.median(rate.p95_ms for rate in rates), 2),
    }


def main() -> None:
    """Measure every int8 artifact on its engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each visit, at least")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {}
    with tempfile.TemporaryDirectory() as folder:
        for bundle in given.bundles or _untrained(Path(folder)):
            card = Card.read(bundle)
            for file in card.files.values():
                if file.precision != "int8" or file.target != "any":
                    continue
                for engine in file.engines:
                    variant = Variant(file, engine)
                    results[f"{bundle.stem} {variant}"] = measure(
                        bundle, card, variant, rounds=given.rounds, least_s=given.seconds
                    )
    report(results, before, given.out)


def _untrained(folder: Path) -> list[Path]:
    from networks import make_bundle

    return [make_bundle(folder, arch)[1] for arch in ("resnet50", "mobilenetv2")]


if __name__ == "__main__":
    main()
