"""The figures of a result, and which of them got worse.

`python -m benchmarks compare OLD NEW` is its command; docs/reference/figures.md lists the figures
of benchmarks/results (`markdown`, written by docs/scripts/reference.py).
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a figure's name says of it; one that says neither is not compared.
MORE = re.compile(r"per_s|fps|times_|accuracy|agreement|cosine|within|ratio$|_peak$")
LESS = re.compile(
    r"(^|_)ms($|_per)|_s$|seconds|mib|bytes|over_|overhead|diff|^mean_dp|drift|flips|^cpu$|^share$"
)
MAD = "_mad"


@dataclass(frozen=True)
class Figure:
    """A figure of a result: where it is, its value, and the spread of its rounds, if known.

    `mad` is their median absolute deviation.
    """

    name: str
    value: float
    mad: float | None = None

    @property
    def noise(self) -> float | None:
        """The share of the value beyond which a change is none of chance."""
        return None if self.mad is None or not self.value else 3 * self.mad / abs(self.value)


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


def figures(data: Any, name: str = "", spread: Any = None) -> Iterator[Figure]:
    """Yield the figures of a result; a list of numbers is the rounds of one.

    What is under `KEY_mad` is the spread of what is under `KEY`, one number or as many.
    """
    if isinstance(data, dict):
        for key, value in data.items():
            if key.removesuffix(MAD) == key or key.removesuffix(MAD) not in data:
                within = spread.get(key) if isinstance(spread, dict) else None
                path = f"{name}.{key}" if name else str(key)
                yield from figures(value, path, data.get(f"{key}{MAD}", within))
    elif isinstance(data, list) and data and all(_is_number(value) for value in data):
        middle = statistics.median(data)
        deviations = [abs(value - middle) for value in data]
        yield Figure(name, middle, statistics.median(deviations) if len(data) > 2 else None)
    elif _is_number(data):
        yield Figure(name, float(data), spread if _is_number(spread) else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def more_is_better(name: str) -> bool | None:
    """Return whether more of a figure is better, by the last part of its name that says it."""
    for part in reversed(name.lower().split(".")):
        if MORE.search(part) or LESS.search(part):
            return bool(MORE.search(part))
    return None


def changes(before: Any, after: Any, *, noise: float) -> Iterator[Change]:
    """Yield the figures that got worse beyond noise."""
    old = {figure.name: figure for figure in figures(before)}
    for new in figures(after):
        better, found = more_is_better(new.name), old.get(new.name)
        if better is None or found is None or not found.value:
            continue
        rise = (new.value - found.value) / abs(found.value)
        spreads = [share for share in (found.noise, new.noise) if share is not None]
        limit = max([*spreads, noise / 2] if spreads else [noise])
        if (worse := -rise if better else rise) > limit:
            yield Change(new.name, found.value, new.value, worse, limit)


def compare(old: Path, new: Path, *, noise: float) -> int:
    """Print what got worse; return how many figures did."""
    pairs = [(old, new)] if old.is_file() else _pairs(old, new)
    count = 0
    for before, after in pairs:
        left, right = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
        machines = [machine(data.get("environment", {})) for data in (left, right)]
        if machines[0] != machines[1]:
            print(f"{after.stem}: other machines ({machines[0]}; {machines[1]}); ratios count")
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


# --- the page ------------------------------------------------------------------------------------


def machine(environment: Mapping[str, Any]) -> str:
    """Return a processor in words, with what it can do where that was noted."""
    cpu, cores = environment.get("cpu"), environment.get("cpus")
    if cpu is None:
        return "not noted"
    features = ", ".join(environment.get("features", ())) or "what it can do was not noted"
    return f"{cpu}, {cores} cores ({features})"


def overview(folder: Path) -> str:
    """Return a table of the files of results: what was run, and where."""
    rows = ["| results | command | machine | figures |", "| --- | --- | --- | ---: |"]
    for path, data in _results(folder):
        known, count = data.get("environment", {}), len(_shown(data))
        link = f"[{path.stem}](reference/figures.md#{path.stem})" if count else path.stem
        rows.append(f"| {link} | {_command(path, known)} | {machine(known)} | {count} |")
    return "\n".join(rows)


def markdown(folder: Path) -> str:
    """Return every figure that can be compared, with its spread, command, machine and versions."""
    return "\n".join(_section(path, data) for path, data in _results(folder) if _shown(data))


def _results(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def _shown(data: Mapping[str, Any]) -> list[Figure]:
    return [f for f in figures(data.get("results")) if more_is_better(f.name) is not None]


def _command(path: Path, environment: Mapping[str, Any]) -> str:
    """Return the command that a file notes; older ones note none, and are named like a script."""
    return f"`{environment.get('command', f'python benchmarks/{path.stem}.py')}`"


def _section(path: Path, data: Mapping[str, Any]) -> str:
    known = data.get("environment", {})
    versions = ", ".join(f"{name} {v}" for name, v in known.get("versions", {}).items())
    rows = [
        f"| {figure.name.replace('|', '/')} | {figure.value:.5g} | "
        f"{'' if figure.mad is None else f'{figure.mad:.2g}'} |"
        for figure in _shown(data)
    ]
    return (
        f"## {path.stem}\n\n{_command(path, known)} on {machine(known)}; "
        f"Python {known.get('python', 'not noted')}, {versions or 'versions not noted'}.\n\n"
        "| figure | value | spread |\n| --- | ---: | ---: |\n" + "\n".join(rows) + "\n"
    )
