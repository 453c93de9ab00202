"""How good is the demo model on generated clips it never saw, and what does TSM bring?

    python benchmarks/demo.py [BUNDLE ...] --clips 2007 --out results/demo.json

By default the demo bundles, clip and online form; every file on every engine that serves it. And
per-frame voting from the first bundle's weights: each frame alone, shown as a clip of equal frames,
the frames' probabilities averaged.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report

from edge_tsm import demo, load
from edge_tsm.backends import installed
from edge_tsm.bundle.card import Card
from edge_tsm.demo.synthetic import generate, label_of
from edge_tsm.evaluation.metrics import wilson
from edge_tsm.inference.recognizer import Recognizer

VOTING = "voting over frames, model.onnx"


def answers(
    recognizers: dict[str, Recognizer], seed: int, *, voting: bool
) -> Iterator[tuple[str, int]]:
    """Yield the name of every contender and the class it answers to one clip."""
    first = next(iter(recognizers.values()))
    crops = [first.prepare(image) for image in generate(seed, short_side_px=240)]
    for name, recognizer in recognizers.items():
        yield name, int(recognizer.predict(crops).logits.argmax())
    if not voting:
        return
    stills = first.predict_many([crop] * len(crops) for crop in crops)
    yield VOTING, int(np.mean([still.probabilities for still in stills], axis=0).argmax())


def figures(found: list[int], reference: list[int]) -> dict[str, Any]:
    """Return accuracy, its 95 % interval, and agreement with the f32 form's answers."""
    truth = [label_of(seed) for seed in range(len(found))]
    right = sum(a == b for a, b in zip(found, truth, strict=True))
    agreed = sum(a == b for a, b in zip(found, reference, strict=True))
    return {
        "accuracy": right / len(truth),
        "interval_95": wilson(right, len(truth)),
        "agreement_with_f32": agreed / len(truth),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    demos = [demo.bundle("clip"), demo.bundle("online")]
    parser.add_argument("bundles", nargs="*", type=Path, default=demos)
    parser.add_argument("--clips", type=int, default=2007, help="a multiple of 9 is balanced")
    parser.add_argument("--no-voting", action="store_true", help="eight more runs per clip")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    before, recognizers = environment(), dict[str, Recognizer]()
    for bundle in arguments.bundles:
        for name, file in Card.read(bundle).files.items():
            for engine in filter(installed, file.engines):
                loaded = load(bundle, engine=engine, variant=name)
                recognizers[f"{bundle.stem}, {name} on {engine}"] = loaded
    found: dict[str, list[int]] = {}
    for seed in range(arguments.clips):
        for name, answer in answers(recognizers, seed, voting=not arguments.no_voting):
            found.setdefault(name, []).append(answer)
    results = {}
    for name, classes in found.items():
        f32 = next((key for key in found if key.split()[0] == name.split()[0]), name)
        results[name] = figures(classes, found[f32])
        low, high = results[name]["interval_95"]
        told = f"{results[name]['accuracy']:7.2%}  [{low:.2%}, {high:.2%}]"
        print(f"{name:<40} {told}  agrees {results[name]['agreement_with_f32']:.2%}")
    report({"clips": arguments.clips, **results}, before, arguments.out)


if __name__ == "__main__":
    main()
