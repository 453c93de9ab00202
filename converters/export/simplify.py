"""onnxsim in a process of its own: it must not end a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.export.apart import python, write_apart

TIMEOUT_S = 300.0
_PROGRAM = """
import sys
from pathlib import Path

import onnx
import onnxsim

model, same = onnxsim.simplify(onnx.load(sys.argv[1]))
if not same:
    raise SystemExit("onnxsim's own check says that the simplified graph differs")
Path(sys.argv[2]).write_bytes(model.SerializeToString())
"""


def simplify(
    source: Path,
    path: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = python(_PROGRAM),
) -> str | None:
    """Write the simplified graph of `source` to `path`.

    Returns None, or in one line the reason for no simplified graph (a crash, a hang, a refusal).
    """
    return write_apart("onnxsim", command, source, path, timeout_s=timeout_s)
