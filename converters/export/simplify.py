"""onnxsim in a process of its own: it has crashed and hung, and must not end a conversion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 300.0
# A program of its own and no module of this package, whose folder has an `onnx.py` too.
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
_COMMAND = (sys.executable, "-c", _PROGRAM)


def simplify(
    source: Path,
    path: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = _COMMAND,
) -> str | None:
    """Write the simplified graph of `source` to `path`.

    Returns None, or in one line the reason for no simplified graph (a crash, a hang, a refusal).
    """
    try:
        done = subprocess.run(
            [*command, str(source.resolve()), str(path.resolve())],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            # Not a file called onnx.py in the folder where somebody converts a download. Python
            # 3.10 knows no safe path, so the program starts in the folder of its result.
            cwd=path.parent,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired:
        path.unlink(missing_ok=True)
        return f"onnxsim took more than {timeout_s:g} s"
    if done.returncode != 0 or not path.is_file():
        path.unlink(missing_ok=True)
        message = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        return f"onnxsim ended with code {done.returncode}: {message}"
    return None
