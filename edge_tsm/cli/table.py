"""Columns of text that fit the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence

from edge_tsm.system.printable import printable
from edge_tsm.system.width import columns_of, fit, left, wrap

MOST_COLUMNS = 30


def layout(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines: every column but the last as wide as needed, the last wrapped.

    Middle ones are cut at 30 columns of the terminal, of which a Chinese character takes two.

    >>> print("\\n".join(layout([("class", "clips"), ("挥手", "12"), ("wave", "3")])))
    class  clips
    挥手   12
    wave   3
    """
    table = [list(map(printable, row)) for row in rows]
    for row in table:
        row[1:-1] = [fit(cell, MOST_COLUMNS) for cell in row[1:-1]]
    widths = [max(map(columns_of, column)) for column in list(zip(*table, strict=True))[:-1]]
    indent = sum(widths) + 2 * len(widths)
    rest = max(shutil.get_terminal_size().columns - indent, 16)
    lines = []
    for row in table:
        head = "".join(f"{left(cell, width)}  " for cell, width in zip(row, widths, strict=False))
        first, *more = wrap(row[-1], rest) or [""]
        lines += [(head + first).rstrip(), *(" " * indent + line for line in more)]
    return lines
