"""Which engine runs a network fastest here, f32 and int8, in turns?

    python benchmarks/engines.py a.bundle b.bundle --out engines.json

Every proven file of each bundle (`convert --target mnn` adds MNN's) on every engine that is
installed, one clip or frame at a time through `Recognizer`, whose preparation is not timed.
"""

import argparse
from pathlib import Path

import numpy as np
from environment import environment, report
from peak import int8_shares, of_bundle
from turns import in_turns, told

from edge_tsm import Card
from edge_tsm.backends import ENGINES, RuntimeOptions, installed
from edge_tsm.diagnostics.verify import listed_variants
from edge_tsm.inference.opening import open_variant

FIRST = "model.onnx on onnxruntime"


def measure(bundle: Path, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds per run, and times that of ONNX Runtime's f32, by file and engine.

    And which share of the machine's int8 peak the files in int8 reach.
    """
    card, options = Card.read(bundle), RuntimeOptions(threads=threads)
    random = np.random.default_rng(0)
    inputs = [(card.input.name, card.input.shape), *((c.input, c.shape) for c in card.state)]
    feed = {name: random.standard_normal(shape).astype(np.float32) for name, shape in inputs}
    opened = {
        str(variant): open_variant(bundle, card, variant, options).backend
        for variant in listed_variants(card, list(filter(installed, ENGINES)))
        if variant.file.target == "any"
    }
    runs = {name: lambda b=backend: b.run(feed) for name, backend in opened.items()}
    turns = in_turns(runs, rounds=rounds)
    return {
        **told("ms", turns.rounds),
        **told("times_first", {name: turns.ratios(name, FIRST) for name in turns.rounds}),
        "share_of_int8_peak": int8_shares(turns.ms(), of_bundle(bundle), threads=threads),
    }


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args()
    before = environment()
    results = {b.name: measure(b, given.threads, given.rounds) for b in given.bundles}
    report({"threads": given.threads, **results}, before, given.out)


if __name__ == "__main__":
    main()
