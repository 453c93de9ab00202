"""Pictures of the figures, drawn by matplotlib, beside the JSON file they belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # pictures go to files, with or without a display
import matplotlib.pyplot as plt

OURS, OTHERS = "#184e9c", "#b9bec8"


def bars(
    panels: Mapping[str, Mapping[str, float]],
    out: Path,
    *,
    unit: str,
    strong: Sequence[str] = (),
) -> None:
    """Draw a panel of bars per entry, up to four beside each other.

    Names that begin with one of `strong` stand out.
    """
    most, columns = max(map(len, panels.values())), len(panels)
    if columns > 4:  # a page is not wider
        columns = 2
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.5 * columns, (1.4 + 0.36 * most) * rows), squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, values) in zip(axes.flat[: len(panels)], panels.items(), strict=True):
        names = list(values)[::-1]
        colors = [OURS if name.startswith(tuple(strong)) else OTHERS for name in names]
        drawn = axis.barh(names, [values[name] for name in names], color=colors)
        axis.bar_label(drawn, fmt="%.1f", padding=3, fontsize=9)
        axis.set(title=title, xlabel=unit)
        axis.margins(x=0.14)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, out)


def lines(
    panels: Mapping[str, Mapping[str, Mapping[float, float]]],
    out: Path,
    *,
    unit: str,
    across: Mapping[str, str],
) -> None:
    """Draw a panel of curves per entry, from zero up; `across` names horizontal axes."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False)
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, points in curves.items():
            axis.plot(list(points), list(points.values()), marker="o", label=name)
        axis.set(title=title, xlabel=across[title], ylabel=unit)
        axis.set_xticks(sorted({x for points in curves.values() for x in points}))
        axis.set_ylim(bottom=0)
        axis.grid(color="#e4e7ec")
        axis.spines[["top", "right"]].set_visible(False)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, 0))
    _save(figure, out)


def _save(figure: plt.Figure, out: Path) -> None:
    figure.tight_layout()
    figure.savefig(out, dpi=110, bbox_inches="tight")
    plt.close(figure)
