"""Programs of others that write a file, each in a process of its own: they crash and hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def python(program: str) -> tuple[str, ...]:
    """Return the command that runs a program of Python.

    It is no module of this package, whose folder has an `onnx.py` too.
    """
    return (sys.executable, "-c", program)


def write_apart(
    tool: str, command: Sequence[str], source: Path, path: Path, *, timeout_s: float
) -> str | None:
    """Let a command write `path` from `source`, the last two of its arguments.

    Returns None, or in one line the reason for no file (a crash, a hang, a refusal).
    """
    try:
        done = subprocess.run(
            [*command, str(source.resolve()), str(path.resolve())],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            # Not a file called onnx.py in the folder where somebody converts a download. Python
            # 3.10 knows no safe path, so the program starts in the folder of its result.
            cwd=path.parent,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired:
        path.unlink(missing_ok=True)
        return f"{tool} took more than {timeout_s:g} s"
    if done.returncode != 0 or not path.is_file():
        path.unlink(missing_ok=True)
        message = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        return f"{tool} ended with code {done.returncode}: {message}"
    return None
