"""Measurements in processes of their own, each written down before the next begins."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from environment import environment, report

Command = Callable[[str, Path], list[str]]  # what measures a name, and writes JSON to the path


def each(
    names: Sequence[str],
    command: Command,
    *,
    out: Path | None,
    limit_s: float,
    known: dict[str, Any] | None = None,
) -> list[str]:
    """Measure `names` one after the other; return a line for each that failed.

    `out` holds, after each, all results so far, those of `known` among them.
    """
    before, results, failed = environment(), dict(known or {}), list[str]()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder) / "found.json"
            try:
                subprocess.run(command(name, found), check=True, timeout=limit_s)
                results[name] = json.loads(found.read_text())
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                failed.append(f"{name}: {error}")
        report(results, before, out)
    return failed
