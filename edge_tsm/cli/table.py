"""Columns of text that fit the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from edge_tsm.system.printable import printable

MOST_CHARS = 30


def layout(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines: every column but the last as wide as needed, the last wrapped.

    Middle columns are cut at 30 characters.
    """
    table = [list(map(printable, row)) for row in rows]
    for row in table:
        row[1:-1] = [_cut(cell) for cell in row[1:-1]]
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    indent = sum(widths) + 2 * len(widths)
    rest = max(shutil.get_terminal_size().columns - indent, 16)
    lines = []
    for row in table:
        head = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        first, *more = textwrap.wrap(row[-1], rest) or [""]
        lines += [(head + first).rstrip(), *(" " * indent + line for line in more)]
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1] + "…"
