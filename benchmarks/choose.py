"""Which network costs what, and what was published of it?

    python benchmarks/choose.py benchmarks/results/video_networks.json [MORE.json …]

Writes the table of figures into docs/how-to/choose-a-network.md, and draws accuracy over time. The
files are those of video_networks.py and timesformer.py. Times are of this machine, accuracies are
published: each stands with its protocol, and figures of different protocols are not compared.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

PAGE = Path(__file__).resolve().parent.parent / "docs/how-to/choose-a-network.md"
ENGINES, PRECISIONS = ("ONNX Runtime", "OpenVINO"), ("f32", "int8")
HAND = "export by hand, ONNX Runtime"


@dataclass(frozen=True)
class Published:
    """Kinetics-400 top-1 in percent, and by how many views of a video."""

    top1: float
    views: str


THIRTY, THREE = "10 clips x 3 crops", "1 clip x 3 crops"
PUBLISHED = {
    "Slow R50 4x16": Published(72.7, THIRTY),
    "Slow R50 8x8": Published(74.8, THIRTY),
    "SlowFast R50 4x16": Published(75.6, THIRTY),
    "SlowFast R50 8x8": Published(77.0, THIRTY),
    "TimeSformer divided 8x224": Published(77.9, THREE),
}


def table(results: dict[str, Any]) -> list[str]:
    """Return the lines of the table: a network each, ms per clip and MiB."""
    head = [f"{e} {p}" for p in PRECISIONS for e in ENGINES]
    lines = [
        f"| network | {HAND}, ms | {' | '.join(f'{name}, ms' for name in head)} | MiB f32 | int8 |",
        f"| --- | {' | '.join(['---:'] * (len(head) + 3))} |",
    ]
    for network, found in results.items():
        runs, mib = found["runs"], found["mib"]
        times = [_ms(runs, name) for name in (HAND, *head)]
        sizes = [_number(mib.get(name)) for name in ("model.onnx", "model.int8.onnx")]
        lines.append(f"| {network} | {' | '.join([*times, *sizes])} |")
    return lines


def _ms(runs: dict[str, Any], name: str) -> str:
    return _number(runs[name]["cpu_ms"] if name in runs else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def draw(results: dict[str, Any], out: Path) -> None:
    """Draw published accuracy over the least time in a bundle, a mark for each protocol."""
    figure, axis = plt.subplots(figsize=(6.5, 4.2))
    for views, mark in ((THIRTY, "o"), (THREE, "s")):
        points = [
            (_least(results[name]["runs"]), published.top1, name)
            for name, published in PUBLISHED.items()
            if published.views == views and name in results
        ]
        axis.scatter([p[0] for p in points], [p[1] for p in points], marker=mark, label=views)
        for ms, top1, name in points:
            axis.annotate(name, (ms, top1), textcoords="offset points", xytext=(6, 4), fontsize=8)
    axis.set(xlabel="ms CPU per thread and clip, best form", ylabel="published top-1, %")
    axis.set_xscale("log")
    axis.margins(x=0.25, y=0.15)
    axis.legend(title="views of a video", fontsize=8)
    axis.grid(color="#e4e7ec", which="both")
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def _least(runs: dict[str, Any]) -> float:
    return min(run["cpu_ms"] for name, run in runs.items() if name.startswith(ENGINES))


def main() -> None:
    """Rewrite what stands between the page's two marks, and the picture beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    results: dict[str, Any] = {}
    for path in parser.parse_args().files:
        results |= json.loads(path.read_text())["results"]
    page = PAGE.read_text()
    body = "\n".join(["<!-- figures -->", *table(results), "<!-- end of figures -->"])
    page, count = re.subn(
        r"<!-- figures -->.*?<!-- end of figures -->", lambda _: body, page, flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{PAGE} has no place for the figures")
    PAGE.write_text(page)
    draw(results, PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
