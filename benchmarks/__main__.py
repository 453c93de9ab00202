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
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEMO = str(HERE.parent / "edge_tsm/demo/demo.bundle")
LIMIT_S = 1800
# What runs unasked, and with which arguments. Left out is what needs data or draws pictures.
RUNS: dict[str, list[str]] = {
    "backbones": ["resnet50"],
    "cameras": [DEMO, "--seconds", "5"],
    "conversion": [],
    "cpu_share": [DEMO, "--seconds", "10"],
    "demo": [DEMO, "--clips", "90"],
    "end_to_end": ["--rounds", "3"],
    "footprint": [],
    "growth": ["--rounds", "3"],
    "online": ["--rounds", "3", "--clips", "9"],
    "overhead": [DEMO, "--rounds", "3"],
    "routes": ["--rounds", "3"],
    "scan": ["--minutes", "2", "--rounds", "3"],
    "shift_cost": ["--rounds", "3"],
    "shift_forms": ["--rounds", "3"],
    "soak": ["--frames", "20000", "--reconnects", "50"],
    "start": ["--rounds", "5"],
    "throughput": ["--rounds", "3"],
    "video_networks": ["--rounds", "3"],
}
# Words in a figure's name, and whether more of it is better; what says neither is not compared.
BETTER = {
    **dict.fromkeys(("per_s", "fps", "times_", "accuracy", "agreement", "within", "ratio"), True),
    **dict.fromkeys(("_ms", "ms", "_s", "seconds", "mib", "bytes", "over_", "diff"), False),
}


@dataclass(frozen=True)
class Figure:
    """A figure of a result: where it is, its value, and the spread of its rounds, if known."""

    name: str
    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Change:
    """A figure before and after; `worse` is by which share."""

    name: str
    before: float
    after: float
    worse: float
    noise: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.before:g} -> {self.after:g}, {100 * self.worse:.0f} % worse "
            f"(noise {100 * self.noise:.0f} %)"
        )


def figures(data: Any, name: str = "") -> Iterator[Figure]:
    """Yield the figures of a result; a list of numbers is the rounds of one."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from figures(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list) and data and all(_is_number(value) for value in data):
        middle = statistics.median(data)
        deviations = [abs(value - middle) for value in data]
        share = statistics.median(deviations) / abs(middle) if middle else 0.0
        yield Figure(name, middle, 3 * share if len(data) > 2 else None)
    elif _is_number(data):
        yield Figure(name, float(data))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def more_is_better(name: str) -> bool | None:
    """Return whether more of a figure is better, by the last part of its name that says it."""
    for part in reversed(name.lower().split(".")):
        for word, better in BETTER.items():
            if word in part if word.startswith("_") or len(word) > 3 else word == part:
                return better
    return None


def changes(before: Any, after: Any, *, noise: float) -> Iterator[Change]:
    """Yield the figures that got worse beyond noise."""
    old = {figure.name: figure for figure in figures(before)}
    for new in figures(after):
        better, found = more_is_better(new.name), old.get(new.name)
        if better is None or found is None or not found.value:
            continue
        rise = (new.value - found.value) / abs(found.value)
        spreads = [s for s in (found.spread, new.spread) if s is not None]
        limit = max([*spreads, noise / 2] if spreads else [noise])
        if (worse := -rise if better else rise) > limit:
            yield Change(new.name, found.value, new.value, worse, limit)


def compare(old: Path, new: Path, *, noise: float) -> int:
    """Print what got worse; return how many figures did."""
    pairs = [(old, new)] if old.is_file() else _pairs(old, new)
    count = 0
    for before, after in pairs:
        left, right = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
        machines = [data.get("environment", {}).get("cpu") for data in (left, right)]
        if machines[0] != machines[1]:
            print(f"{after.stem}: other machines ({machines[0]}, {machines[1]}); ratios count")
        found = list(changes(left.get("results"), right.get("results"), noise=noise))
        for change in found:
            print(f"{after.stem}: {change}")
        count += len(found)
    print(f"{count} figures got worse beyond noise, of {len(pairs)} files in both")
    return count


def _pairs(old: Path, new: Path) -> list[tuple[Path, Path]]:
    return [
        (path, new / path.name)
        for path in sorted(old.glob("*.json"))
        if (new / path.name).is_file()
    ]


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
