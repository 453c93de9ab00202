"""How big is the runtime alone, and how long does `import edge_tsm` take?

    python benchmarks/footprint.py --out footprint.json

Installs the package with each engine into a fresh virtual environment (needs a package index) and
imports it twenty times, interleaved with an import of numpy alone and of a bare interpreter.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 20
IMPORTS = {"nothing": "pass", "numpy": "import numpy", "edge_tsm": "import edge_tsm"}


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


def main() -> None:
    """Measure both engines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    results: dict[str, object] = {}
    for extras in ("", "[onnx,headless]", "[openvino,headless]"):
        with tempfile.TemporaryDirectory() as folder:
            venv = Path(folder)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            pip = [venv / "bin/pip", "install", "-q", f"{ROOT}{extras}"]
            subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
            results[f"edge-tsm{extras}"] = {
                "mib": round(size_mib(venv), 1),
                "import_ms": import_ms(venv / "bin/python"),
            }
            print(f"edge-tsm{extras}", json.dumps(results[f"edge-tsm{extras}"]), flush=True)
    if out:
        out.write_text(json.dumps({"python": sys.version.split()[0], "results": results}))


if __name__ == "__main__":
    main()
