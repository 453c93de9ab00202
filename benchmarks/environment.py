"""What benchmarks write beside their figures."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from edge_tsm.backends import versions
from edge_tsm.system.machine import processor, usable_cores

PACKAGES = ("onnxruntime", "openvino", "torch", "nncf", "onnx", "opencv-python-headless", "numpy")


def environment() -> dict[str, Any]:
    """Return the machine and the versions that the figures belong to."""
    return {
        "cpu": processor().model,
        "cpus": usable_cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
    }


def report(results: Any, before: dict[str, Any], out: Path | None) -> None:
    """Print the results, and write them with the environment to `out`."""
    print(json.dumps(results, indent=1), flush=True)
    if out:
        out.write_text(json.dumps({"environment": before, "results": results}, indent=1) + "\n")


def resident_kib() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
