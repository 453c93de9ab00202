"""What does a clip cost, against the routes a user has without edge-tsm?

    python benchmarks/routes.py --out results/routes.json

Untrained ResNet-50 and MobileNetV2 TSM, 8 frames, batch 1, everything in one process and in turns:
torch eager and compiled, the export that users write by hand on both engines, its int8 by ONNX
Runtime's and NNCF's defaults, and the files of the bundle that `edge-tsm convert --int8` makes of
the same checkpoint. All float routes must give the same logits before anything is timed.
"""

from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from networks import (
    CALIBRATION_CLIPS,
    ENGINE_NAMES,
    HandExport,
    answer,
    each_network,
    export_by_hand,
    make_bundle,
    opened,
)
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxsim import simplify
from peak import int8_shares, of_bundle
from plots import bars
from turns import Run, in_turns, told

from converters import Options, plan

ARCHS = {"ResNet-50": "resnet50", "MobileNetV2": "mobilenetv2"}
CLIP = np.random.default_rng(0).standard_normal((1, 24, 224, 224)).astype(np.float32)
SAME = 1e-4  # of the logits' range


class Reader(CalibrationDataReader):
    """Random clips: what quantizers need to know for time, not for accuracy."""

    def __init__(self) -> None:
        generator = np.random.default_rng(1)
        self._clips = [
            {"clip": generator.standard_normal(CLIP.shape).astype(np.float32)}
            for _ in range(CALIBRATION_CLIPS)
        ]
        self._left = iter(self._clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next clip, None after the last."""
        return next(self._left, None)

    def all(self) -> list[dict[str, np.ndarray]]:
        """Return all clips."""
        return self._clips


def on_ort(path: Path) -> Run:
    """Return a run of a file as a user's own script opens it."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"clip": CLIP})[0]


def on_openvino(model: Path | openvino.Model, precision: str) -> Run:
    """Return a run of a model compiled for latency."""
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer({"clip": CLIP}, share_inputs=True)[0]


def in_torch(model: torch.nn.Module) -> Run:
    """Return a run of a torch module."""
    clip = torch.from_numpy(CLIP)

    def run() -> np.ndarray:
        with torch.no_grad():
            return model(clip).numpy()

    return run


def by_hand(checkpoint: Path, folder: Path) -> dict[str, Run]:
    """Return the routes of today."""
    model = HandExport(plan(checkpoint, Options()))
    plain = export_by_hand(model, folder / "hand.onnx")
    simple, prepared, static = (folder / f"hand.{n}.onnx" for n in ("simple", "prepared", "int8"))
    onnx.save(simplify(onnx.load(str(plain)))[0], str(simple))
    quant_pre_process(str(plain), str(prepared))
    quantize_static(
        str(prepared), str(static), Reader(), quant_format=QuantFormat.QDQ, per_channel=True
    )
    clips = nncf.Dataset([feed["clip"] for feed in Reader().all()])
    compressed = nncf.quantize(openvino.Core().read_model(plain), clips)
    return {
        "torch eager": in_torch(model),
        "torch.compile": in_torch(torch.compile(model)),
        "hand export, ONNX Runtime f32": on_ort(plain),
        "hand export + onnxsim, ONNX Runtime f32": on_ort(simple),
        "hand export, OpenVINO f32": on_openvino(plain, "f32"),
        "hand export, OpenVINO bf16": on_openvino(plain, "bf16"),
        "hand export, ONNX Runtime int8 (its defaults)": on_ort(static),
        "hand export, OpenVINO int8 (that file)": on_openvino(static, "f32"),
        "hand export, OpenVINO int8 (NNCF's defaults)": on_openvino(compressed, "f32"),
    }


def check(runs: dict[str, Run]) -> None:
    """Refuse to time routes that do not compute the same."""
    wanted = np.asarray(runs["torch eager"]())
    for name, run in runs.items():
        if "f32" in name:
            found = run()
            found = next(iter(found.values())) if isinstance(found, dict) else found
            off = np.abs(np.asarray(found) - wanted).max() / np.ptp(wanted)
            if off > SAME:
                raise SystemExit(f"{name} differs from torch by {off:.1e} of the logits' range")


def measure(arch: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Time all routes of one network."""
    checkpoint, bundle = make_bundle(folder, arch)
    runs = by_hand(checkpoint, folder)
    runs |= {f"edge-tsm, {name}": answer(recognizer) for name, recognizer in opened(bundle)}
    check(runs)
    found = in_turns(runs, rounds=rounds)
    hand, best = "hand export, ONNX Runtime f32", found.fastest("edge-tsm")
    ratios = {f"{hand} / {name}": found.ratios(hand, name) for name in runs if name != hand}
    f32 = {
        engine: found.ratios(f"edge-tsm, {engine} f32", f"hand export, {engine} f32")
        for engine in ENGINE_NAMES.values()
        if f"hand export, {engine} f32" in runs
    }
    return {
        **told("ms", found.rounds),
        "share_of_int8_peak": int8_shares(found.ms(), of_bundle(bundle)),
        "best": best,
        **told("times_faster", ratios),
        **told("f32_over_hand_export", f32),
    }


def main() -> None:
    """Measure each network."""
    results, picture = each_network(__doc__, ARCHS, measure, rounds=7)
    if picture:
        panels = {name: found["ms"] for name, found in results.items()}
        bars(panels, picture, unit="ms per clip", strong=["edge-tsm"])


if __name__ == "__main__":
    main()
