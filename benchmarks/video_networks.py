"""How fast are SlowFast and its relatives beside the export by hand of upstream's form?

    python benchmarks/video_networks.py --out video_networks.json

Weights are those of the shared goldens (untrained: time does not depend on them). All runs of a
network are in one process, in turns, on two threads. Told are milliseconds of CPU time per thread,
the least of the rounds, which other work on the machine moves little, and beside them of the wall.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import answer, each_network, opened
from torch import nn

from converters import ClipSet, Int8, Options, Settings, build, plan
from converters.architectures.classifier import build_reference
from converters.bundling import card_of
from converters.export.onnx import export_onnx
from converters.verification.clips import generated_clip
from edge_tsm.backends import RuntimeOptions, open_backend
from tests.conftest import SHARED
from tests.helpers.goldens import load_golden
from tests.helpers.video_resnets import whole, write

THREADS, CLIPS = 2, 3
HAND = "export by hand, "
NETWORKS = {
    "Slow R50 8x8": "fb_slow_r50_8x8",
    "SlowFast R50 4x16": "fb_slowfast_r50_4x16",
}


@dataclass
class Times:
    """Milliseconds of every call: of CPU per thread, and of the wall."""

    cpu: list[float]
    wall: list[float]

    def call(self, run: Callable[[], object]) -> None:
        """Time one call."""
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        self.cpu.append((time.process_time() - cpu) * 1000 / THREADS)
        self.wall.append((time.perf_counter() - wall) * 1000)


def main() -> None:
    """Measure and draw."""
    results, picture = each_network(__doc__ or "", NETWORKS, measure, rounds=5)
    if picture:
        from plots import bars

        panels = {
            name: {run: times["cpu_ms"] for run, times in found["runs"].items()}
            for name, found in results.items()
        }
        bars(panels, picture, unit="ms CPU per thread and clip", strong=("ONNX", "OpenVINO"))


def measure(golden_name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return milliseconds and megabytes of every form of a network."""
    torch.set_num_threads(THREADS)
    golden = load_golden(golden_name, SHARED)
    planned = plan(write(golden, whole(golden, _recipe()), folder), Options())
    segments = planned.recipe.segments
    crops = np.stack([generated_clip(seed, segments, 224) for seed in range(CLIPS)])
    bundle = folder / "x.bundle"
    int8 = Int8(ClipSet(crops), keep_float="none", max_drop=1 - 1e-9)
    build(planned, bundle, Settings(int8=int8), progress=lambda line: print(line, file=sys.stderr))
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    runs = dict(_by_hand(model, planned, folder))
    runs |= {name: answer(recognizer) for name, recognizer in opened(bundle, threads=THREADS)}
    times = {name: Times([], []) for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            times[name].call(run)
    base = min(times[f"{HAND}ONNX Runtime"].cpu[1:])
    return {
        "frames": segments,
        "runs": {
            name: {
                "cpu_ms": round(min(found.cpu[1:]), 1),
                "wall_ms": round(min(found.wall[1:]), 1),
                "times_faster": round(base / min(found.cpu[1:]), 2),
            }
            for name, found in times.items()
        },
        "mib": {
            path.name: round(path.stat().st_size / 2**20, 1) for path in bundle.glob("model.*")
        },
    }


def _by_hand(model: nn.Module, planned: Any, folder: Path) -> Mapping[str, Callable[[], object]]:
    """Return torch's own run, and those of plain torch.onnx.export of upstream's form."""
    card = card_of(planned.recipe, "x", checkpoint_sha256="0" * 64)
    clip = np.random.default_rng(0).standard_normal(card.input.shape).astype(np.float32)
    path = export_onnx(model, card, folder / "hand.onnx")
    found: dict[str, Callable[[], object]] = {}
    for engine, title in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        backend = open_backend(engine, path, RuntimeOptions(threads=THREADS, precision="f32"))
        found[f"{HAND}{title}"] = lambda b=backend: b.run({card.input.name: clip})  # type: ignore[misc]

    def eager() -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(clip))

    return {**found, "torch": eager}


def _recipe() -> Any:
    spec = importlib.util.spec_from_file_location("recipe", SHARED / "golden/recipe.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
