"""What benchmarks write beside their figures."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from edge_tsm.backends import versions
from edge_tsm.system.machine import processor, usable_cores

# Ours and the peers': engines, what makes and quantizes graphs, readers of video.
PACKAGES = (
    *("onnxruntime", "openvino", "MNN", "ai-edge-litert", "torch", "onnx", "onnxsim", "nncf"),
    *("opencv-python-headless", "opencv-python", "av", "torchcodec", "decord", "numpy"),
)


def environment() -> dict[str, Any]:
    """Return the command, the machine and the versions that the figures belong to."""
    cpu = processor()
    return {
        "command": command(),
        "cpu": cpu.model,
        "features": list(cpu.features),
        "cpus": usable_cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
    }


def command() -> str:
    """Return what was typed, without where the results went, and paths by their last part."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    kept = [w for w, before in zip(words[1:], words, strict=False) if "--out" not in (w, before)]
    shown = [Path(w).name if w.startswith("/") else w for w in kept]
    return shlex.join(["python", f"benchmarks/{words[0]}", *shown])


def report(results: Any, before: dict[str, Any], out: Path | None) -> None:
    """Print the results, and write them with the environment to `out`; none at all are an error."""
    if not results:
        sys.exit("nothing was measured: nothing that is named is of the kind asked for")
    print(json.dumps(results, indent=1), flush=True)
    if out:
        out.write_text(json.dumps({"environment": before, "results": results}, indent=1) + "\n")


def resident_kib() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
