"""Engines that are refused are refused for a reason that still holds, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from edge_tsm import demo

pytest.importorskip("ncnn", reason="NCNN is not installed")
PNNX = shutil.which("pnnx", path=str(Path(sys.executable).parent)) or shutil.which("pnnx")

# The largest difference from ONNX Runtime, as a share of the range of its logits.
_DIFFERENCE = """
import ncnn, numpy as np, onnxruntime

model = onnxruntime.InferenceSession("model.onnx")
random = np.random.default_rng(0)
feed = {
    i.name: random.standard_normal(i.shape).astype(np.float32) for i in model.get_inputs()
}
expected = model.run(None, feed)
net = ncnn.Net()
net.load_param("model.ncnn.param")
net.load_model("model.ncnn.bin")
extractor = net.create_extractor()
for i, value in enumerate(feed.values()):
    extractor.input(f"in{i}", ncnn.Mat(np.ascontiguousarray(value[0])))
found = [np.array(extractor.extract(f"out{i}")[1]) for i in range(len(expected))]
worst = max(np.abs(a.ravel() - b.ravel()).max() for a, b in zip(found, expected, strict=True))
print(worst / np.ptp(expected[0]))
"""


@pytest.mark.skipif(PNNX is None, reason="NCNN's converter, pnnx, is not installed")
@pytest.mark.parametrize("form", ["clip", "online"])
def test_ncnn_crashes_or_errs(form: Literal["clip", "online"], tmp_path: Path) -> None:
    """Where it answers rightly, it is time to make it a target."""
    shutil.copyfile(demo.bundle(form) / "model.onnx", tmp_path / "model.onnx")
    done = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        for command in ([str(PNNX), "model.onnx", "fp16=0"], [sys.executable, "-c", _DIFFERENCE])
    ][1]
    assert done.returncode != 0 or not float(done.stdout) <= 1e-2
