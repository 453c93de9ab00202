"""How good is a model on generated clips it never saw, in every form, and what does time bring?

    python benchmarks/demo.py [BUNDLE ...] --clips 2007 --out results/demo.json
    python benchmarks/demo.py CHECKPOINT ... --side-px 80 --out results/trained_video_networks.json

By default the demo bundles, clip and online form; every file on every engine that serves it. A
checkpoint is converted here, its int8 calibrated on 32 and judged on 300 other clips, with 7-bit
weights where the CPU's int8 sums would saturate. And
per-frame voting from each bundle's first file: each frame alone, shown as a clip of equal frames,
the frames' probabilities averaged. Beside accuracy stands how far a form is from the bundle's f32:
the share of equal answers with its exact lower bound (95 %, one-sided), and the change of
probabilities.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import ClipSet, Int8, Options, Settings, build, plan
from converters.bundling import card_of
from converters.quantization.judgment import upper_bound
from edge_tsm import demo, load
from edge_tsm.backends import installed
from edge_tsm.bundle.card import Card
from edge_tsm.demo.synthetic import generate, label_of
from edge_tsm.errors import IncompleteError
from edge_tsm.evaluation.metrics import wilson
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.system.machine import processor

VOTING = "voting over frames"
CALIBRATION = 3_000_000  # the first seed; those of training begin at 1 and 2 million
Shares = NDArray[np.floating[Any]]  # probabilities, (classes,) or (clips, classes)


def answers(
    recognizers: dict[str, Recognizer], seed: int, side_px: int, *, voting: bool
) -> Iterator[tuple[str, Shares]]:
    """Yield the name of every contender of a bundle and its probabilities of one clip."""
    name, first = next(iter(recognizers.items()))
    frames = generate(seed, times=first.card.sampling.segments, short_side_px=side_px)
    crops = [first.prepare(image) for image in frames]
    for form, recognizer in recognizers.items():
        yield form, recognizer.predict(crops).probabilities
    if voting:
        stills = first.predict_many([crop] * len(crops) for crop in crops)
        shares = np.mean([still.probabilities for still in stills], axis=0)
        yield f"{name.partition(',')[0]}, {VOTING}", shares


def figures(found: Shares, reference: Shares) -> dict[str, Any]:
    """Return accuracy with its 95 % interval, and how far the answers are from the f32 form's."""
    truth = np.array([label_of(seed) for seed in range(len(found))])
    right = int((found.argmax(1) == truth).sum())
    other = int((found.argmax(1) != reference.argmax(1)).sum())
    moved = np.abs(found - reference)
    return {
        "accuracy": right / len(truth),
        "interval_95": wilson(right, len(truth)),
        "agreement_with_f32": 1 - other / len(truth),
        "agreement_at_least": 1 - upper_bound(other, len(truth)),
        "mean_dp": float(moved.mean()),
        "largest_dp": float(moved.max()),
    }


def bundle_of(path: Path, folder: Path, side_px: int) -> Path:
    """Return a bundle as it is, and that of a checkpoint with int8, as far as it is proven."""
    if path.is_dir():
        return path
    labels = path.with_name("labels.txt")
    planned = plan(path, Options(labels=labels if labels.exists() else None))
    card = card_of(planned.recipe, path.stem, checkpoint_sha256="0" * 64)
    prepare, frames = Preprocessor(card.preprocess).crop, card.sampling.segments
    crops = [
        np.stack([prepare(image) for image in generate(s, times=frames, short_side_px=side_px)])
        for s in range(CALIBRATION, CALIBRATION + 332)
    ]
    narrow = processor().int8_saturates  # else OpenVINO's answers are those of the CPU's limits
    calibration, kept = ClipSet(np.stack(crops[:32])), ClipSet(np.stack(crops[32:]))
    int8 = Int8(calibration, kept, reduce_range=narrow)
    try:
        return build(planned, folder / f"{path.stem}.bundle", Settings(int8=int8), progress=print)
    except IncompleteError as error:
        print(error)
        return error.bundle


def opened(bundle: Path) -> dict[str, Recognizer]:
    """Return every file of a bundle on every engine, by name, f32 first."""
    files = sorted(Card.read(bundle).files.items(), key=lambda item: item[1].precision != "f32")
    return {
        f"{bundle.stem}, {name} on {engine}": load(bundle, engine=engine, variant=name)
        for name, file in files
        for engine in filter(installed, file.engines)
    }


def measure(bundle: Path, clips: int, side_px: int, voting: bool) -> dict[str, Any]:
    """Return the figures of every form of a bundle, and print them."""
    recognizers, found = opened(bundle), dict[str, list[Shares]]()
    for seed in range(clips):
        for name, shares in answers(recognizers, seed, side_px, voting=voting):
            found.setdefault(name, []).append(shares)
    results, f32 = dict[str, Any](), np.stack(next(iter(found.values())))
    for name, rows in found.items():
        row = results[name] = figures(np.stack(rows), f32)
        low, high = row["interval_95"]
        print(
            f"{name:<44} {row['accuracy']:7.2%}  [{low:.2%}, {high:.2%}]  agrees "
            f"{row['agreement_with_f32']:.2%} (at least {row['agreement_at_least']:.2%}), "
            f"mean |Δp| {row['mean_dp']:.4f}"
        )
    return results


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    demos = [demo.bundle("clip"), demo.bundle("online")]
    parser.add_argument("bundles", nargs="*", type=Path, default=demos)
    parser.add_argument("--clips", type=int, default=2007, help="a multiple of 9 is balanced")
    parser.add_argument("--no-voting", action="store_true", help="eight more runs per clip")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side-px", type=int, default=240, help="height of the pictures")
    arguments = parser.parse_args()
    before, results = environment(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.bundles:
            bundle = bundle_of(path, Path(folder), arguments.side_px)
            results |= measure(bundle, arguments.clips, arguments.side_px, not arguments.no_voting)
    report({"clips": arguments.clips, **results}, before, arguments.out)


if __name__ == "__main__":
    main()
