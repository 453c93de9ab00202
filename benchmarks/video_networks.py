"""What does a clip cost on TSM, Slow, SlowFast and TimeSformer, and how much less than by hand?

    python benchmarks/video_networks.py --out benchmarks/results/video_networks.json
    python benchmarks/video_networks.py --networks "SlowFast R50 4x16,TimeSformer divided 8x224"

Networks are of published size and untrained: time does not depend on weights. Each is measured in a
process of its own, and what is known is written after each: a run that is cut is no loss. All forms
of a network run in turns on two threads, as a bundle holds them and as plain `torch.onnx.export` of
the code base's own form (`by hand`). Told are the least milliseconds of CPU time per thread, which
other work on the machine moves little, and beside them of the wall.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from apart import each
from networks import HandExport, export_by_hand
from peak import int8_shares, multiply_adds
from torch import nn
from turns import spread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import Options, plan
from converters.architectures.classifier import build_reference
from converters.architectures.network import Network
from converters.architectures.resnet3d import ResNet3d, bottlenecks
from converters.architectures.slowfast import slowfast
from converters.architectures.timesformer import TimeSformer, initialize_tokens
from converters.architectures.topologies import initialize
from converters.checkpoints import Checkpoint
from converters.checkpoints.facebook_slowfast import CONVENTION
from converters.checkpoints.video_transformers import FACEBOOK
from converters.planning import Plan
from converters.quantization.qdq import Form, calibrate, in_shapes_of, plain, quantize
from converters.recipe import Convention, Topology, resolve
from converters.verification.clips import generated_clip
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.inference.preprocess import Preprocessor
from tests.helpers.goldens import HERE
from tests.helpers.graphs import ENGINES, card_for, graphs
from tests.helpers.timesformer import Size, UpstreamTimeSformer
from tests.helpers.upstream import write_checkpoint

THREADS, CLASSES = 2, 400
SETTLE_S = 0.2  # in which the threads of the run before stop spinning
R50 = (3, 4, 6, 3)
Run = Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """A network to measure, and the module that a user would export by hand."""

    planned: Plan
    by_hand: nn.Module


# --- the networks --------------------------------------------------------------------------------


def tsm(arch: str, folder: Path) -> Subject:
    """Return a TSM with 8 frames in upstream's format."""
    planned = plan(write_checkpoint(folder, arch, classes=CLASSES), Options())
    return Subject(planned, HandExport(planned))


def pp_tsm_v2(folder: Path) -> Subject:
    """Return PP-TSMv2 with 8 frames; names and shapes are those of a file of PaddleVideo."""
    golden = json.loads((HERE / "pptsmv2_lcnet_8f_noatt.json").read_text())
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape, _ in golden["tensors"]:
        fan_in = max(1, np.prod(shape[1:], dtype=int)) if len(shape) > 1 else 100
        value = torch.randn(shape, generator=generator) / fan_in**0.5
        weights[name] = value.abs() + 0.5 if len(shape) == 1 and "bias" not in name else value
    torch.save(weights, folder / "pptsmv2.pth")
    planned = plan(folder / "pptsmv2.pth", Options(kind="paddle"))
    return Subject(planned, HandExport(planned))


def untrained(
    network: Network, convention: Convention, options: Options, *, fresh: Callable[..., None]
) -> Plan:
    """Return a plan of a spec with fresh weights."""
    topology = Topology(network, CLASSES, "head.weight", (), convention, shift_source=None)
    recipe = resolve(topology, options)
    model = recipe.network.classifier(recipe)
    fresh(model, seed=1)
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm3d)):
        nn.init.uniform_(norm.weight, 0.4, 0.9)
    weights = {n: t for n, t in model.state_dict().items() if "num_batches" not in n}
    return Plan(Checkpoint(Path("untrained"), "0" * 64, topology, weights), recipe)


def volumes(network: Network, frames: int, interval: int, folder: Path, **own: int) -> Subject:
    """Return a network of 3-D convolutions; by hand they stay so."""
    options = Options(segments=frames, interval=interval, own=own)
    planned = untrained(network, CONVENTION, options, fresh=initialize)
    return Subject(planned, build_reference(planned.recipe, planned.checkpoint.tensors))


def timesformer(frames: int, folder: Path) -> Subject:
    """Return a divided TimeSformer of base size; by hand it is as Facebook writes it."""
    size = Size(frames, CLASSES, px=224, width=768, depth=12, heads=12)
    spec = TimeSformer("divided", 12, 768, 3072, patch=16, patches=14, frames=frames)
    options = Options(segments=frames, interval=32, size=224)
    planned = untrained(spec, FACEBOOK, options, fresh=initialize_tokens)
    return Subject(planned, UpstreamTimeSformer(size))


SLOW = ResNet3d(bottlenecks(64, R50, (1, 1, 3, 3)))
NETWORKS: dict[str, Callable[[Path], Subject]] = {
    "TSM ResNet-50": partial(tsm, "resnet50"),
    "TSM MobileNetV2": partial(tsm, "mobilenetv2"),
    "PP-TSMv2": pp_tsm_v2,
    "Slow R50 4x16": partial(volumes, SLOW, 4, 16),
    "Slow R50 8x8": partial(volumes, SLOW, 8, 8),
    "SlowFast R50 4x16": partial(volumes, slowfast(64, R50, alpha=8), 32, 2, alpha=8),
    "TimeSformer divided 8x224": partial(timesformer, 8),
}


# --- one network ---------------------------------------------------------------------------------


@dataclass
class Times:
    """Milliseconds of every call: of CPU per thread, and of the wall."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def call(self, run: Run) -> None:
        """Time one call."""
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        self.cpu.append((time.process_time() - cpu) * 1000 / THREADS)
        self.wall.append((time.perf_counter() - wall) * 1000)


def measure(subject: Subject, folder: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Return milliseconds and MiB of every form of a network.

    There are at most so many rounds, and fewer, but two, where they take longer than `seconds`.
    """
    torch.set_num_threads(THREADS)
    card = card_for(subject.planned)
    clip = np.random.default_rng(0).standard_normal(card.input.shape).astype(np.float32)
    paths = {f"by hand {engine}": folder / "hand.onnx" for engine in ENGINES}
    export_by_hand(subject.by_hand, folder / "hand.onnx", shape=card.input.shape)
    paths |= bundled(subject.planned, card, folder)
    runs: dict[str, Run] = {name: opened(path, name, clip, card) for name, path in paths.items()}
    runs["torch"] = partial(eager, subject.by_hand, clip)
    times, started = {name: Times() for name in runs}, time.monotonic()
    for turn in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(SETTLE_S)
            times[name].call(run)
        if turn > 1 and time.monotonic() - started > seconds:
            break
    found = told(times)
    cpu_ms = {name: row["cpu_ms"] for name, row in found.items()}
    macs = multiply_adds(paths["f32 onnxruntime"])
    return {
        "frames": card.sampling.segments,
        "rounds": turn,
        "runs": found,
        "share_of_int8_peak": int8_shares(cpu_ms, macs, threads=THREADS),
        "mib": {
            name: round(paths[f"{name} onnxruntime"].stat().st_size / 2**20, 1)
            for name in ("f32", "int8")
        },
    }


def told(times: Mapping[str, Times]) -> dict[str, Any]:
    """Return the least of each run's rounds, and how many times faster than by hand that is."""
    best = {name: (min(found.cpu[1:]), min(found.wall[1:])) for name, found in times.items()}
    return {
        name: {
            "cpu_ms": round(cpu, 1),
            "cpu_ms_mad": spread(times[name].cpu[1:]),
            "wall_ms": round(wall, 1),
            "wall_ms_mad": spread(times[name].wall[1:]),
            "times_faster": {
                engine: round(best[f"by hand {engine}"][0] / cpu, 2) for engine in ENGINES
            },
        }
        for name, (cpu, wall) in best.items()
    }


def bundled(planned: Plan, card: Card, folder: Path) -> dict[str, Path]:
    """Return each engine's f32 and int8 graph as a conversion makes them, unproven."""
    found = {f"f32 {engine}": path for engine, path in graphs(planned, folder).items()}
    first, *_ = found.values()
    prepare = Preprocessor(card.preprocess).tensor
    crops = (generated_clip(s, card.sampling.segments, card.preprocess.crop_px) for s in range(2))
    ranges = calibrate(first, [{card.input.name: prepare(list(c))[None]} for c in crops])
    layers = plain(first, ranges, Form())
    for name, path in list(found.items()):
        own, target = in_shapes_of(path, layers), path.with_suffix(".int8.onnx")
        found[name.replace("f32", "int8")] = quantize(path, target, ranges, Form(), layers=own)
    return found


def opened(path: Path, name: str, clip: np.ndarray, card: Card) -> Run:
    """Return a run of a graph on the engine that its name ends with."""
    options = RuntimeOptions(threads=THREADS, precision="f32")
    backend = open_backend(name.split()[-1], path, options)
    return partial(backend.run, {card.input.name: clip})


def eager(model: nn.Module, clip: np.ndarray) -> object:
    """Run a network in torch."""
    with torch.inference_mode():
        return model(torch.from_numpy(clip))


# --- all of them ---------------------------------------------------------------------------------


def main() -> None:
    """Measure the networks that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", help=f"by comma, of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=45, help="of rounds for each network")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        with tempfile.TemporaryDirectory() as folder:
            subject = NETWORKS[given.one](Path(folder))
            bounds = {"rounds": given.rounds, "seconds": given.seconds}
            given.out.write_text(json.dumps(measure(subject, Path(folder), **bounds)))
        return
    names = [n.strip() for n in given.networks.split(",")] if given.networks else list(NETWORKS)
    if strange := [name for name in names if name not in NETWORKS]:
        parser.error(f"no network {strange[0]!r}; there are {', '.join(NETWORKS)}")
    more = ["--rounds", str(given.rounds), "--seconds", str(given.seconds)]

    def command(name: str, found: Path) -> list[str]:
        return [sys.executable, __file__, "--one", name, "--out", str(found), *more]

    failed = each(names, command, out=given.out, limit_s=1200)
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
