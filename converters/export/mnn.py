"""MNN from ONNX, in a process of its own, which also runs it once: both have ended processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from converters.export.apart import python, write_apart
from edge_tsm.bundle.card import Card
from edge_tsm.errors import ExportError

TIMEOUT_S = 300.0
# `_tools` is what MNN's command `mnnconvert` calls. Not the command itself: its first act is to
# install a package with pip, its last to send its maker what was converted (measured with 3.6.1).
_PROGRAM = """
import sys

import _tools
import MNN

*options, source, path = sys.argv[1:]
_tools.mnnconvert(
    ["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", path, *options]
)
net = MNN.Interpreter(path)
if net.runSession(net.createSession({"backend": "CPU", "numThread": 1})):
    raise SystemExit("the converted model does not run")
"""


def write_mnn(
    source: Path,
    card: Card,
    path: Path,
    *,
    f16: bool = False,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = python(_PROGRAM),
) -> Path:
    """Write the ONNX model `source`, whose metadata is taken over, as `path`; `f16` halves weights.

    Raises:
        ExportError: MNN's converter refuses the graph, crashes or takes too long.
    """
    options = ("--bizCode", "edge-tsm", *(["--fp16"] if f16 else []))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="mnn-") as work:  # it leaves files
        written = Path(work) / path.name
        problem = write_apart(
            "MNN's converter", [*command, *options], source, written, timeout_s=timeout_s
        )
        if problem is not None:
            raise ExportError(f"{path.name}: {problem}")
        shutil.move(written, path)
    return path
