"""Which backbone costs what: size and time of a clip in f32 and int8, how close int8 comes.

The networks are untrained, which times do not depend on; their norms have the statistics of a clip
of noise, as training would leave them, so that signals live through any depth. How close int8 comes
to f32 is told by the cosine of their logits over generated clips, each clip's taken from the mean
of all (a network that answers always alike would else look perfect).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, report
from networks import CALIBRATION_CLIPS, answer, opened
from torch import nn
from turns import in_turns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import ClipSet, Int8, Options, Settings, build
from converters.architectures.classifier import COUNTER, VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints import Checkpoint
from converters.checkpoints.upstream import CONVENTION
from converters.planning import Plan
from converters.recipe import Topology, resolve
from converters.verification.clips import generated_clip
from edge_tsm.bundle.card import Card
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer

NETWORKS = (
    *("mobilenetv2", "mobilenetv3_small", "mobilenetv3_large", "resnet18", "resnet50"),
    *("resnext50_32x4d", "seresnet50", "ecaresnet50d"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
    *("regnet_x_400mf", "regnet_y_400mf", "regnet_x_800mf", "regnet_y_800mf"),
    *("regnet_x_1_6gf", "regnet_y_1_6gf", "regnet_x_3_2gf", "regnet_y_3_2gf"),
)
SEGMENTS, CLASSES, CLIPS = 8, 27, 12


def planned(name: str) -> Plan:
    """Return the plan of an untrained network of 27 classes."""
    network = topology(name)
    model = VideoClassifier(network, CLASSES, Shift(SEGMENTS, div=8))
    _initialize(model)
    read = Topology(network, CLASSES, "new_fc.weight", (), CONVENTION)
    tensors = {k: t for k, t in model.state_dict().items() if not k.endswith(COUNTER)}
    weights = Checkpoint(Path(name), "0" * 64, read, tensors)
    return Plan(weights, resolve(read, Options()))


def _initialize(model: VideoClassifier) -> None:
    """Give a model random weights, and statistics of a clip of noise."""
    initialize(model, seed=1)
    generator = torch.Generator().manual_seed(1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.bias.data.normal_(0, 0.2, generator=generator)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(1, SEGMENTS * 3, 224, 224, generator=generator))


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return size, times and closeness of one network."""
    plan = planned(name)
    crops = [generated_clip(seed, SEGMENTS, 224) for seed in range(CALIBRATION_CLIPS)]
    int8 = Int8(ClipSet(np.stack(crops)), keep_float="none", max_drop=1 - 1e-9)
    bundle = build(plan, folder / f"{name}.bundle", Settings(int8=int8))
    artifacts = dict(opened(bundle, threads=1))
    turns = in_turns({form: answer(one) for form, one in artifacts.items()}, rounds=rounds)
    found = {
        "family": plan.recipe.network.family,
        "parameters": sum(t.numel() for t in plan.checkpoint.tensors.values()),
        "bytes": {path: (bundle / path).stat().st_size for path in Card.read(bundle).files},
        "ms": turns.ms(),
        "close": closeness(artifacts),
    }
    for recognizer in artifacts.values():
        recognizer.close()
    return found


def closeness(artifacts: dict[str, Recognizer]) -> dict[str, float]:
    """Return how alike int8 and f32 tell clips apart: the mean cosine of centered logits."""
    prepare = Preprocessor(next(iter(artifacts.values())).card.preprocess).tensor
    crops = (generated_clip(100 + seed, SEGMENTS, 224) for seed in range(CLIPS))
    clips = [prepare(list(crop))[None] for crop in crops]
    logits = {
        form: np.concatenate([recognizer.runner.answer(prepared) for prepared in clips])
        for form, recognizer in artifacts.items()
    }
    found = {}
    for form, own in logits.items():
        exact = logits[f"{form.rpartition(' ')[0]} f32"]
        own, exact = own - own.mean(0), exact - exact.mean(0)
        norms = np.linalg.norm(own, axis=1) * np.linalg.norm(exact, axis=1)
        found[form] = round(float(np.mean((own * exact).sum(1) / norms)), 4)
    return found


def main() -> None:
    """Measure the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {}
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(name, Path(folder), given.rounds)
            print(name, results[name], flush=True)
    report(results, before, given.out)


if __name__ == "__main__":
    main()
