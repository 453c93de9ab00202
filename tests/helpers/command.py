"""The command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def edge_tsm(
    *arguments: object, cwd: Path | None = None, columns: int = 80
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tsm", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": str(columns)},
    )
