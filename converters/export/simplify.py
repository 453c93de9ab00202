"""onnxsim in a process of its own: it has crashed and hung before, and may not end a conversion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 300.0
_COMMAND = (sys.executable, __file__)


def simplify(
    source: Path,
    path: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = _COMMAND,
) -> str | None:
    """Write the simplified graph of `source` to `path`.

    Returns None, or in one line why there is no simplified graph (a crash, a hang, a refusal).
    """
    try:
        done = subprocess.run(
            [*command, str(source), str(path)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            # Not a file called onnx.py in the folder where somebody converts a download.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired:
        path.unlink(missing_ok=True)
        return f"onnxsim took more than {timeout_s:g} s"
    if done.returncode != 0 or not path.is_file():
        path.unlink(missing_ok=True)
        said = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        return f"onnxsim ended with code {done.returncode}: {said}"
    return None


def _main(source: str, path: str) -> None:
    import onnx
    import onnxsim

    model, same = onnxsim.simplify(onnx.load(source))
    if not same:
        raise SystemExit("onnxsim's own check says that the simplified graph differs")
    Path(path).write_bytes(model.SerializeToString())


if __name__ == "__main__":
    _main(*sys.argv[1:3])
