"""How big is the runtime alone, what memory does a live run take, and how long does an import take?

    python benchmarks/footprint.py --out footprint.json

Installs the package with each engine into a fresh virtual environment (needs a package index),
imports it twenty times, interleaved with an import of numpy alone and of a bare interpreter, and
answers the demo model on a live test pattern: peak resident memory, beside a bare script that runs
the same artifact on the same engine as often. `--here` measures memory in this environment alone,
`--bundle` with another bundle.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import environment, report

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "edge_tsm/demo/demo.bundle"
REPEATS, ANSWERS = 20, 20
IMPORTS = {"nothing": "pass", "numpy": "import numpy", "edge_tsm": "import edge_tsm"}
# What a process used at most, as Linux counted it, printed by the process itself at its end.
PEAK = "; import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
LIVE = """
import sys, threading
from edge_tsm.cli import main
try:
    main(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
"""
BARE = {
    "onnxruntime": """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
[shown] = session.get_inputs()
for _ in range(int(sys.argv[2])):
    session.run(None, {shown.name: numpy.zeros(shown.shape, numpy.float32)})
""",
    "openvino": """
import sys, numpy, openvino
compiled = openvino.Core().compile_model(sys.argv[1], "CPU", {"PERFORMANCE_HINT": "LATENCY"})
request = compiled.create_infer_request()
for _ in range(int(sys.argv[2])):
    request.infer([numpy.zeros(list(compiled.input(0).shape), numpy.float32)])
""",
}


def size_mib(venv: Path) -> float:
    """Return the size of what was installed, pip and its friends left out."""
    [site] = venv.glob("lib/python*/site-packages")
    tools = ("pip", "setuptools", "_distutils_hack")
    files = (p for p in site.rglob("*") if p.is_file() and not p.is_symlink())
    kept = (p for p in files if not p.relative_to(site).parts[0].startswith(tools))
    return sum(p.stat().st_size for p in kept) / 2**20


def import_ms(python: Path) -> dict[str, float]:
    """Return the median wall time of a process that imports, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(REPEATS):
        for name, code in IMPORTS.items():
            started = time.perf_counter()
            subprocess.run([python, "-c", code], check=True, cwd="/")
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def peak_mib(python: Path | str, code: str, *arguments: object) -> float:
    """Return the most memory that a script held, in MiB."""
    text = f"{code}\n{PEAK.lstrip('; ')}"
    command = [str(python), "-c", text, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"\d+", last), done.stdout
    return round(int(last) / 1024, 1)


def memory(python: Path | str, engine: str, bundle: Path, artifact: str) -> dict[str, Any]:
    """Return the peaks of a live run and of a bare script, and what is between them.

    The second run finds the compiled model that the first one has kept.
    """
    run = [
        "run",
        bundle,
        "--engine",
        engine,
        "--variant",
        artifact,
        "--camera",
        "test://640x480/30",
    ]
    live = [peak_mib(python, LIVE, *run, "--max-answers", ANSWERS) for _ in range(2)]
    bare = peak_mib(python, BARE[engine], bundle / artifact, ANSWERS)
    return {"live_mib": live, "bare_mib": bare, "over_bare": round(live[1] / bare, 2)}


def main() -> None:
    """Measure both engines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--artifact", default="model.int8.onnx")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, bundle, results = environment(), given.bundle.resolve(), dict[str, Any]()
    if given.here:
        for engine in BARE:
            results[engine] = {"memory": memory(sys.executable, engine, bundle, given.artifact)}
            print(engine, json.dumps(results[engine]), flush=True)
    for extras, engine in () if given.here else _EXTRAS.items():
        with tempfile.TemporaryDirectory() as folder:
            venv = Path(folder)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            pip = [venv / "bin/pip", "install", "-q", f"{ROOT}{extras}"]
            subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
            python = venv / "bin/python"
            found = {"mib": round(size_mib(venv), 1), "import_ms": import_ms(python)}
            if engine:
                found["memory"] = memory(python, engine, bundle, given.artifact)
            results[f"edge-tsm{extras}"] = found
            print(f"edge-tsm{extras}", json.dumps(found), flush=True)
    report(results, before, given.out)


_EXTRAS = {"": "", "[onnx,headless]": "onnxruntime", "[openvino,headless]": "openvino"}


if __name__ == "__main__":
    main()
