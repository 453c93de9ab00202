"""What does a clip cost on each backbone, in f32 and int8, and how close does int8 come?

    python benchmarks/backbones.py [NETWORK ...] [--out FILE.json]

Times are processor milliseconds of one thread, the least of many runs, so that other work on the
machine changes them little. The networks are untrained, which times do not depend on; their norms
have the statistics of generated clips, as training would leave them, so that signals live through
any depth. How close int8 comes to f32 is told by the cosine of their logits over generated clips,
each clip's taken from the mean of all (a network that answers always alike would else look
perfect); no layer is kept float.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, report
from peak import int8_shares, multiply_adds
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters.architectures.classifier import VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.bundling import card_of
from converters.checkpoints.upstream import CONVENTION
from converters.export.onnx import export_onnx
from converters.export.simplify import simplify
from converters.quantization.qdq import Form, calibrate, quantize
from converters.recipe import Options, Topology, resolve
from converters.verification.clips import generated_clip
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.inference.preprocess import Preprocessor

NETWORKS = (
    *("mobilenetv2", "mobilenetv3_small", "mobilenetv3_large", "resnet18", "resnet50"),
    *("resnext50_32x4d", "seresnet50", "ecaresnet50d"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
    *("regnet_x_400mf", "regnet_y_400mf", "regnet_x_800mf", "regnet_y_800mf"),
    *("regnet_x_1_6gf", "regnet_y_1_6gf", "regnet_x_3_2gf", "regnet_y_3_2gf"),
)
SEGMENTS, CLASSES, CALIBRATION_CLIPS, CLIPS = 8, 27, 6, 8
ENGINES = ("onnxruntime", "openvino")
RUNS = 5


def untrained(name: str) -> tuple[VideoClassifier, Card]:
    """Return a network with random weights, and the card of its bundle."""
    network = topology(name)
    read = Topology(network, CLASSES, "new_fc.weight", (), CONVENTION)
    model = VideoClassifier(network, CLASSES, Shift(SEGMENTS, div=8))
    initialize(model, seed=1)
    generator = torch.Generator().manual_seed(1)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.bias.data.normal_(0, 0.2, generator=generator)
        norm.momentum = 1.0  # the statistics are those of the last batch
    card = card_of(resolve(read, Options()), name, checkpoint_sha256="0" * 64)
    with torch.no_grad():
        model.train()(torch.from_numpy(clips(card, range(100, 104))))
    return model.eval().requires_grad_(False), card


def clips(card: Card, seeds: Iterable[int]) -> np.ndarray:
    """Return generated clips, prepared: (N, T*3, H, W) float32."""
    prepare = Preprocessor(card.preprocess).tensor
    return np.stack([prepare(list(generated_clip(seed, SEGMENTS, 224))) for seed in seeds])


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return size, times and closeness of one network."""
    model, card = untrained(name)
    prepared = clips(card, range(CALIBRATION_CLIPS + CLIPS))
    feeds = [{card.input.name: clip[None]} for clip in prepared]
    plain = export_onnx(model, card, folder / "plain.onnx")
    f32, int8 = folder / "f32.onnx", folder / "int8.onnx"
    if problem := simplify(plain, f32):
        raise SystemExit(f"{name}: {problem}")
    quantize(f32, int8, calibrate(f32, feeds[:CALIBRATION_CLIPS]), Form())
    forms = {
        f"{engine} {path.stem}": run(engine, path, card, feeds[CALIBRATION_CLIPS:])
        for engine in ENGINES
        for path in (f32, int8)
    }
    cpu_ms = {form: ms for form, (ms, _) in forms.items()}
    return {
        "family": card.family,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "bytes": {path.stem: path.stat().st_size for path in (f32, int8)},
        "cpu_ms": cpu_ms,
        "share_of_int8_peak": int8_shares(cpu_ms, multiply_adds(f32), threads=1),
        "close": {
            engine: close(forms[f"{engine} int8"][1], forms[f"{engine} f32"][1])
            for engine in ENGINES
        },
    }


def run(
    engine: str, path: Path, card: Card, feeds: list[dict[str, np.ndarray]]
) -> tuple[float, np.ndarray]:
    """Return the least processor milliseconds of a run, and the logits of all clips."""
    backend = open_backend(engine, path, RuntimeOptions(threads=1))
    logits = np.concatenate([backend.run(feed)[card.output.name] for feed in feeds])
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        backend.run(feeds[0])
        times.append((time.process_time() - started) * 1000)
    backend.close()
    return round(min(times), 1), logits


def close(own: np.ndarray, exact: np.ndarray) -> float:
    """Return the mean cosine of centered logits (clips, classes)."""
    own, exact = own - own.mean(0), exact - exact.mean(0)
    norms = np.linalg.norm(own, axis=1) * np.linalg.norm(exact, axis=1)
    return round(float(np.mean((own * exact).sum(1) / norms)), 4)


def main() -> None:
    """Measure the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {}
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(name, Path(folder))
            print(name, results[name], flush=True)
            report(results, before, given.out)


if __name__ == "__main__":
    main()
