"""A picture of lines, boxes and text as SVG, in the colors of the page or of its own style."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

from edge_tsm.system.printable import printable
from edge_tsm.system.width import columns_of

STATIC = Path(__file__).parent / "static"
Point = tuple[float, float]
TEXT_PX = 11
_COLUMN_PX = 6.2  # of one column of text, about: nothing here knows the reader's font


class Drawing:
    """Width and height in pixels; `kind` names classes of `chart.css`, which hold the colors.

    >>> drawing = Drawing(40, 20, "a <title>")
    >>> drawing.line((0, 10), (40, 10))
    >>> drawing.markup(style=False)[-87:]
    'aria-label="a &lt;title&gt;"><line x1="0" y1="10" x2="40" y2="10" class="grid" /></svg>'
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height = width, height
        self._root = Tree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {_number(width)} {_number(height)}",
                "width": _number(width),
                "height": _number(height),
                "role": "img",
                "aria-label": printable(title),
            },
        )

    def line(self, start: Point, end: Point, kind: str = "grid") -> None:
        """Draw a line."""
        self._add("line", kind, x1=start[0], y1=start[1], x2=end[0], y2=end[1])

    def polyline(self, points: Iterable[Point], kind: str) -> None:
        """Draw lines from point to point."""
        text = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._add("polyline", kind, points=text)

    def box(self, corner: Point, size: Point, kind: str, title: str = "") -> None:
        """Draw a filled box; `title` is shown over it."""
        box = self._add("rect", kind, x=corner[0], y=corner[1], width=size[0], height=size[1])
        if title:
            Tree.SubElement(box, "title").text = printable(title)

    def dot(self, center: Point, kind: str, radius: float = 3) -> None:
        """Draw a filled circle."""
        self._add("circle", kind, cx=center[0], cy=center[1], r=radius)

    def text(self, place: Point, text: str, kind: str = "", *, turned: float = 0) -> None:
        """Write on the line at `place`; `kind` may be "middle" or "end", which place ends there."""
        x, y = place
        turn = {"transform": f"rotate({_number(turned)} {_number(x)} {_number(y)})"}
        found = self._add("text", kind, x=x, y=y, **(turn if turned else {}))
        found.text = printable(text)

    def cells(self, places: Iterable[tuple[int, int]], kind: str) -> None:
        """Draw many boxes of one pixel, (row, column) each, as one path."""
        path = "".join(f"M{column} {row}h1v1h-1z" for row, column in places)
        if path:
            self._add("path", kind, d=path)

    def markup(self, *, style: bool = True) -> str:
        """Return the picture; with a `style` of its own it is a whole file."""
        root = self._root
        if style:
            root = Tree.Element(root.tag, root.attrib)
            Tree.SubElement(root, "style").text = (STATIC / "chart.css").read_text("utf-8")
            root.extend(self._root)
        return Tree.tostring(root, encoding="unicode")

    def _add(self, tag: str, kind: str, **attributes: Any) -> Tree.Element:
        given = {name: v if isinstance(v, str) else _number(v) for name, v in attributes.items()}
        return Tree.SubElement(self._root, tag, {**given, "class": kind} if kind else given)


def width_px(text: str) -> float:
    """Return about how wide a text is drawn."""
    return columns_of(text) * _COLUMN_PX


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
