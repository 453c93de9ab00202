"""What does everything measure, and what is slower than before?

    python -m benchmarks --out results/            # all, with bounded settings
    python -m benchmarks scan start --out results/
    python -m benchmarks compare OLD/ NEW/         # folders of results, or two files

Scripts run one after the other, each in a process of its own and with its own limit of time; one
that fails or takes too long is told, and the others go on. `compare` pairs the figures of files of
one name and tells those that got worse by more than noise: by more than the spread of their rounds,
where these are in the file, and else by more than `--noise` percent.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.compare import compare

HERE = Path(__file__).resolve().parent
DEMO = str(HERE.parent / "edge_tsm/demo/demo.bundle")
CHECKPOINT = str(HERE.parent / "examples/demo/ckpt.best.pth.tar")
LIMIT_S = 1800
# What runs unasked, and with which arguments. Left out is what needs data or draws pictures.
RUNS: dict[str, list[str]] = {
    "backbones": ["resnet50"],
    "cameras": [DEMO, "--seconds", "5"],
    "conversion": [],
    "cpu_share": [DEMO, "--seconds", "10"],
    "decode": [],
    "demo": [DEMO, "--clips", "90"],
    "end_to_end": ["--rounds", "3"],
    "engines": [DEMO, "--rounds", "3"],
    "footprint": [],
    "growth": ["--rounds", "3"],
    "int8": [f"demo={CHECKPOINT}", "--judge", "24"],
    "online": ["--rounds", "3", "--clips", "9"],
    "overhead": [DEMO, "--rounds", "3"],
    "peak": [DEMO],
    "routes": ["--rounds", "3"],
    "scan": ["--minutes", "2", "--rounds", "3"],
    "shift_cost": ["--rounds", "3"],
    "shift_forms": ["--rounds", "3"],
    "soak": ["--frames", "20000", "--reconnects", "50"],
    "start": ["--rounds", "5"],
    "throughput": ["--rounds", "3"],
    "video_networks": ["--rounds", "3"],
}


def run_all(names: list[str], out: Path, *, limit_s: float) -> int:
    """Run scripts; return how many failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        started = time.perf_counter()
        command = [sys.executable, str(HERE / f"{name}.py"), *RUNS[name]]
        command += ["--out", str((out / f"{name}.json").resolve())]
        try:
            code = subprocess.run(command, timeout=limit_s, check=False, cwd=HERE.parent).returncode
        except subprocess.TimeoutExpired:
            code = -1
        said = "ok" if code == 0 else "took too long" if code < 0 else f"failed ({code})"
        print(f"{name}: {said}, {time.perf_counter() - started:.0f} s", flush=True)
        failed += code != 0
    return failed


def main() -> None:
    """Run, or compare."""
    if sys.argv[1:2] == ["compare"]:
        parser = argparse.ArgumentParser(prog="python -m benchmarks compare")
        parser.add_argument("old", type=Path)
        parser.add_argument("new", type=Path)
        parser.add_argument("--noise", type=float, default=10.0, help="percent")
        given = parser.parse_args(sys.argv[2:])
        sys.exit(1 if compare(given.old, given.new, noise=given.noise / 100) else 0)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of each")
    given = parser.parse_args()
    if unknown := set(given.names) - RUNS.keys():
        parser.error(f"{min(unknown)} is none of {', '.join(RUNS)}")
    sys.exit(1 if run_all(given.names or list(RUNS), given.out, limit_s=given.limit) else 0)


if __name__ == "__main__":
    main()
