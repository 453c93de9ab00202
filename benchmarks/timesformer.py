"""How fast is a TimeSformer in a bundle, beside a plain export of upstream's own form?

    python benchmarks/timesformer.py --out benchmarks/results/timesformer.json [--frames 8]

Divided attention at the published size (12 blocks of 768, 224 pixels), untrained: time does not
depend on the weights. `plain` is torch.onnx.export of the network as facebookresearch/TimeSformer
writes it, without simplification. All forms run in turn, in one process on two threads; the figure
is CPU time over two, which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from environment import environment, report

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters.architectures.classifier import build_reference
from converters.bundling import card_of
from converters.export.onnx import export_onnx
from converters.export.simplify import simplify
from converters.planning import plan
from converters.quantization.qdq import Form, calibrate, quantize
from converters.recipe import Options
from tests.helpers.timesformer import (
    Size,
    UpstreamTimeSformer,
    random_clips,
    write_facebook,
)

THREADS = 2
Run = Callable[[], np.ndarray]


def forms(size: Size, folder: Path) -> tuple[UpstreamTimeSformer, dict[str, Path]]:
    """Write the plain export, and the bundle's float and int8 graphs."""
    upstream = UpstreamTimeSformer(size)
    clip = torch.zeros(1, 3 * size.frames, size.px, size.px)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            upstream, (clip,), str(folder / "plain.onnx"), input_names=["clip"],
            output_names=["logits"], opset_version=17, dynamo=False,
        )  # fmt: skip
    options = Options(interval=32, own={"heads": size.heads})
    planned = plan(write_facebook(upstream, folder / "x.pyth"), options)
    card = card_of(planned.recipe, "x", checkpoint_sha256="0" * 64)
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    export_onnx(model, card, folder / "exported.onnx")
    problem = simplify(folder / "exported.onnx", folder / "f32.onnx")
    if problem:
        raise SystemExit(problem)
    feeds = [{"clip": clip[None]} for clip in random_clips(size)]
    ranges = calibrate(folder / "f32.onnx", feeds)
    quantize(folder / "f32.onnx", folder / "int8.onnx", ranges, Form())
    return upstream, {name: folder / f"{name}.onnx" for name in ("plain", "f32", "int8")}


def on_onnxruntime(path: Path, clip: np.ndarray) -> Run:
    """Return a run on ONNX Runtime."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = THREADS, 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"clip": clip})[0]


def on_openvino(path: Path, clip: np.ndarray) -> Run:
    """Return a run on OpenVINO, in f32 where the graph is."""
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: clip})[compiled.outputs[0]]


def measure(runs: dict[str, Run], repeats: int) -> dict[str, float]:
    """Return the least CPU time of each run per thread, in ms, all in turn."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            started = time.process_time()
            run()
            if repeat:  # the first one warms up
                found[name].append((time.process_time() - started) / THREADS * 1000)
    return {name: min(times) for name, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given, before = parser.parse_args(), environment()
    size = Size(given.frames, classes=400, px=224, width=768, depth=12, heads=12)
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        upstream, paths = forms(size, Path(folder))
        clip = random_clips(size, 1)
        expected = upstream.answers(clip)
        runs = {
            name: start(paths[form], clip)
            for name, (start, form) in {
                "export by hand, ONNX Runtime": (on_onnxruntime, "plain"),
                "export by hand, OpenVINO": (on_openvino, "plain"),
                "ONNX Runtime f32": (on_onnxruntime, "f32"),
                "OpenVINO f32": (on_openvino, "f32"),
                "ONNX Runtime int8": (on_onnxruntime, "int8"),
                "OpenVINO int8": (on_openvino, "int8"),
            }.items()
        }
        spread = np.ptp(expected)
        off = {name: float(np.abs(run() - expected).max() / spread) for name, run in runs.items()}
        ms = measure({**runs, "torch": lambda: upstream.answers(clip)}, given.repeats)
        names = {"f32": "model.onnx", "int8": "model.int8.onnx"}
        mib = {file: round(paths[form].stat().st_size / 2**20, 1) for form, file in names.items()}
    plain = ms["export by hand, ONNX Runtime"]
    rows = {
        name: {
            "cpu_ms": round(value, 1),
            "times_faster": round(plain / value, 2),
            "off": off.get(name, 0.0),
        }
        for name, value in ms.items()
    }
    found = {"frames": size.frames, "runs": rows, "mib": mib}
    report({f"TimeSformer divided {size.frames}x224": found}, before, given.out)


if __name__ == "__main__":
    main()
