"""How many more clips a second does an engine answer when it is given several at a time?

    python benchmarks/throughput.py [BUNDLE ...] --out results/throughput.json

For each bundle (by default untrained int8 of ResNet-50 and MobileNetV2, converted here) and each
engine, `predict_many` answers the same clips one at a time (latency mode: all threads on one clip)
and several at a time (`aim="throughput"`), in turns. Clips a second, the 95th percentile of what a
clip takes, the ratio within each round, and whether the answers are equal to the bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report
from turns import spread, told

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.inference.loading import open_variant
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Rate, measured
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import physical_cores


def measure(bundle: Path, card: Card, variant: Variant, rounds: int) -> dict[str, Any]:
    """Open the variant both ways, and visit both in every round."""
    wide = RuntimeOptions(streams=max(physical_cores(), 2))
    with (
        open_variant(bundle, card, variant, replace(wide, streams=1)) as alone,
        open_variant(bundle, card, variant, wide) as several,
    ):
        equal, worst = compared(alone, several)
        found: dict[str, list[Rate]] = {"one at a time": [], "several": []}
        for turn in range(rounds):
            both = [("one at a time", alone), ("several", several)]
            for name, recognizer in both[:: -1 if turn % 2 else 1]:
                found[name].append(measured(recognizer, least_s=2.0))
    pairs = zip(found["several"], found["one at a time"], strict=True)
    return {
        "streams": several.streams,
        **{name: _told(rates) for name, rates in found.items()},
        **told("times_faster", {"several": [a.clips_per_s / b.clips_per_s for a, b in pairs]}),
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
                        bundle, card, variant, given.rounds
                    )
    report(results, before, given.out)


def _untrained(folder: Path) -> list[Path]:
    from networks import make_bundle

    return [make_bundle(folder, arch)[1] for arch in ("resnet50", "mobilenetv2")]


if __name__ == "__main__":
    main()
