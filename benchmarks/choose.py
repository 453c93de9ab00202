"""Which network costs what, and what was published of it?

    python benchmarks/choose.py [benchmarks/results/video_networks.json]

Writes the table of figures into docs/how-to/choose-a-network.md, and draws accuracy over time. The
file is that of video_networks.py. Times are of this machine, accuracies are published: each stands
with its protocol, and figures of different protocols are not compared.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, FILE = "docs/how-to/choose-a-network.md", "benchmarks/results/video_networks.json"
COLUMNS = {  # of the table: the run in the file
    "by hand, ONNX Runtime": "by hand onnxruntime",
    "by hand, OpenVINO": "by hand openvino",
    "ONNX Runtime f32": "f32 onnxruntime",
    "OpenVINO f32": "f32 openvino",
    "ONNX Runtime int8": "int8 onnxruntime",
    "OpenVINO int8": "int8 openvino",
}


@dataclass(frozen=True)
class Published:
    """Kinetics-400 top-1 in percent, by how many views of a video, and who says so."""

    top1: float
    views: str
    source: str


THIRTY, THREE, ONE = "10 clips x 3 crops", "1 clip x 3 crops", "1 clip x 1 crop"
PUBLISHED = {
    "TSM ResNet-50": (
        Published(74.1, THIRTY, "TSM's authors"),
        Published(71.2, ONE, "TSM's authors"),
    ),
    "TSM MobileNetV2": (
        Published(69.5, THIRTY, "TSM's authors"),
        Published(68.71, THREE, "mmaction2"),
    ),
    "PP-TSMv2": (Published(72.45, ONE, "PaddleVideo, distilled"),),
    "Slow R50 4x16": (Published(72.7, THIRTY, "PySlowFast"),),
    "Slow R50 8x8": (Published(74.8, THIRTY, "PySlowFast"),),
    "SlowFast R50 4x16": (Published(75.6, THIRTY, "PySlowFast"),),
    "TimeSformer divided 8x224": (Published(77.9, THREE, "TimeSformer's authors"),),
}


def table(results: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table: a network each, ms per clip, MiB, what was published."""
    views = (ONE, THREE, THIRTY)
    yield f"| network | {' | '.join(COLUMNS)} | MiB f32 | int8 | {' | '.join(views)} |"
    yield f"| --- | {' | '.join(['---:'] * (len(COLUMNS) + 2 + len(views)))} |"
    for network, found in results.items():
        cells = [f"{found['runs'][run]['cpu_ms']:.0f}" for run in COLUMNS.values()]
        cells += [f"{found['mib'][name]:.0f}" for name in ("f32", "int8")]
        known = {p.views: f"{p.top1:g} %" for p in PUBLISHED.get(network, ())}
        yield f"| {network} | {' | '.join([*cells, *(known.get(v, '') for v in views)])} |"


def draw(results: dict[str, Any], out: Path) -> None:
    """Draw published accuracy over the least time in a bundle, a mark for each protocol."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 4.6))
    for views, mark, color, up in (
        (THIRTY, "o", "#184e9c", 4),
        (THREE, "s", "#b3541e", 4),
        (ONE, "^", "#2b7a4b", -12),
    ):
        points = [
            (_least(results[name]["runs"]), p.top1, name)
            for name, published in PUBLISHED.items()
            for p in published
            if p.views == views and name in results
        ]
        axis.scatter(*zip(*[p[:2] for p in points], strict=True), c=color, marker=mark, label=views)
        for ms, top1, name in points:
            axis.annotate(name, (ms, top1), textcoords="offset points", xytext=(6, up), fontsize=8)
    axis.set(
        xlabel="ms CPU per thread and clip, fastest form", ylabel="published top-1, Kinetics-400, %"
    )
    axis.set_xscale("log")
    axis.set_xticks([10, 20, 50, 100, 200, 500], labels=["10", "20", "50", "100", "200", "500"])
    axis.margins(x=0.25, y=0.15)
    axis.legend(title="views of a video", fontsize=8, loc="lower right")
    axis.grid(color="#e4e7ec", which="both")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _least(runs: dict[str, Any]) -> float:
    return float(min(runs[name]["cpu_ms"] for name in COLUMNS.values() if "hand" not in name))


def main() -> None:
    """Rewrite what stands between the page's two marks, and the picture beside it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / FILE)
    parser.add_argument("--page", type=Path, default=ROOT / PAGE)
    given = parser.parse_args()
    results = json.loads(given.file.read_text())["results"]
    body = "\n".join(["<!-- figures -->", *table(results), "<!-- end of figures -->"])
    page, count = re.subn(
        r"<!-- figures -->.*?<!-- end of figures -->",
        lambda _: body,
        given.page.read_text(),
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{given.page} has no place for the figures")
    given.page.write_text(page)
    draw(results, given.page.with_suffix(".png"))


if __name__ == "__main__":
    main()
