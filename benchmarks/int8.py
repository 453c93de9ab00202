"""How far is int8 from f32: rounded, refined on the calibration clips, its channels equalized?

    python benchmarks/int8.py demo=examples/demo/ckpt.best.pth.tar fight=CKPT:CLIPS --out int8.json

Each NAME=CHECKPOINT[:CLIPS] is a trained network, or a bundle of it, and a folder or list of clips,
generated ones by default. 32 clips calibrate: 24 give ranges, factors and refined weights, 8 choose
between the ways. The others (at most --judge) are answered by f32 and by int8 made each way, on
ONNX Runtime and on OpenVINO, and with --tensorrt in TensorRT's form on ONNX Runtime.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report
from plots import bars

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import ClipSet, Settings, convert
from converters.quantization import choice
from converters.quantization.calibration import Feeds, read_clips, split, thin
from converters.quantization.choice import Way, nearest, parted
from converters.quantization.equalize import equalization
from converters.quantization.judgment import Answers, drift
from converters.quantization.qdq import Form, calibrate, plain, quantize
from converters.quantization.refine import refine
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.demo.synthetic import generate
from edge_tsm.inference.postprocess import softmax
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.system.machine import processor

KINDS = ("rounded", "refined", "equalized")
# 7-bit weights where OpenVINO's sums saturate: figures would be those of the CPU's limits.
OPENVINO = Form(weight_max=63) if processor().int8_saturates else Form()
WAYS = {
    "ONNX Runtime": ("onnxruntime", Form()),
    "OpenVINO": ("openvino", OPENVINO),
    "TensorRT's form": ("onnxruntime", Form(symmetric=True)),
}


def clips_of(where: str, card: Card, most: int) -> tuple[ClipSet, ClipSet]:
    """Return clips to calibrate on and to judge by."""
    if where:
        calibration, kept = split(read_clips(Path(where), card, warn=print))
        return calibration, thin(kept, most)
    prepare = Preprocessor(card.preprocess)
    seeds = (*range(3_000_000, 3_000_032), *range(3_100_000, 3_100_000 + most))
    crops = [[prepare.crop(f) for f in generate(s, short_side_px=240)] for s in seeds]
    return ClipSet(np.array(crops[:32])), ClipSet(np.array(crops[32:]))


def answers(path: Path, engine: str, card: Card, clips: ClipSet) -> np.ndarray:
    """Return an artifact's logits, (K, classes)."""
    with Recognizer(card, open_backend(engine, path, RuntimeOptions())) as recognizer:
        return np.stack([p.logits for p in recognizer.predict_many(map(list, clips.crops))])


def distance(f32: np.ndarray, int8: np.ndarray) -> dict[str, float]:
    """Return mean |change of probability|, flips, and the worst flip in units of a usual margin."""
    best = np.sort(f32, axis=1)
    margins = best[:, -1] - best[:, -2]
    flipped = f32.argmax(1) != int8.argmax(1)
    worst = float(margins[flipped].max(initial=0) / np.median(margins))
    moved = float(np.abs(softmax(f32) - softmax(int8)).mean())
    logits = drift(Answers(f32, int8))
    return {"mean_dp": moved, "drift": logits, "flips": int(flipped.sum()), "worst_flip": worst}


def measure(checkpoint: Path, where: str, most: int, ways: list[str]) -> dict[str, Any]:
    """Quantize one network both ways, in every form."""
    with tempfile.TemporaryDirectory() as folder:
        path, bundle = Path(folder) / "int8.onnx", checkpoint
        if not bundle.is_dir():
            bundle = convert(checkpoint, Path(folder) / "x.bundle", settings=Settings(ir=False))
        source, card = bundle / "model.onnx", Card.read(bundle)
        calibration, kept = clips_of(where, card, most)
        fitted, checked = (
            list(Feeds(card, calibration.crops[chosen], source))
            for chosen in parted(len(calibration))
        )
        ranges = calibrate(source, fitted)
        expected = choice.answers(source, checked)
        f32 = answers(source, "onnxruntime", card, kept)
        found: dict[str, Any] = {"clips": len(kept)}
        for form in dict.fromkeys(WAYS[way][1] for way in ways):

            def write(way: Way, form: Form = form) -> Path:
                return quantize(way.source, path, way.ranges, form, layers=way.layers)

            started = time.process_time()
            kinds = {
                "rounded": Way(source, ranges, plain(source, ranges, form)),
                "refined": Way(source, ranges, refine(source, ranges, form, fitted)),
            }
            scaled = equalization(source, fitted, ranges)
            if scaled is not None:
                even = scaled.apply(source, Path(folder) / "even.onnx")
                layers = refine(even, scaled.ranges, form, fitted)
                kinds["equalized"] = Way(even, scaled.ranges, layers, scaled)
            seconds = time.process_time() - started
            chosen = nearest(kinds, write, expected, checked, card.output.activation)
            for way in (way for way in ways if WAYS[way][1] == form):
                found[way] = {
                    kind: distance(f32, answers(write(made), WAYS[way][0], card, kept))
                    for kind, made in kinds.items()
                }
                found[way] |= {
                    "weight_max": form.weight_max,
                    "chosen": chosen.way,
                    "seen_by_choice": dict(chosen.drifts),
                }
                found[way]["making_cpu_s"] = round(seconds, 1)
    return found


def main() -> None:
    """Measure each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="NAME=CHECKPOINT[:CLIPS]")
    parser.add_argument("--judge", type=int, default=96, help="clips to compare on")
    parser.add_argument("--tensorrt", action="store_true", help="measure TensorRT's form too")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {}
    for network in given.networks:
        name, _, place = network.partition("=")
        checkpoint, _, where = place.partition(":")
        ways = [way for way in WAYS if given.tensorrt or not WAYS[way][1].symmetric]
        results[name] = measure(Path(checkpoint), where, given.judge, ways)
    report(results, before, given.out)
    if given.out:
        panels = {
            name: {
                f"{kind}, {way}": 1000 * found[way][kind]["mean_dp"]
                for way in filter(found.__contains__, WAYS)
                for kind in filter(found[way].__contains__, KINDS)
            }
            for name, found in results.items()
        }
        bars(
            panels,
            given.out.with_suffix(".png"),
            unit="mean |Δp| in thousandths",
            strong=["equalized"],
        )


if __name__ == "__main__":
    main()
