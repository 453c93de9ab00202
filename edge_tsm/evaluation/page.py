"""A report as one HTML file that needs nothing else: no request leaves it, and no script but ours.

What is shown are sections of text, tables, figures and clips. The same parts make Markdown.
All text is escaped: names of classes and files come from others. Needs jinja2.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jinja2
from markupsafe import Markup, escape

from edge_tsm.evaluation.svg import STATIC, Drawing
from edge_tsm.system.printable import printable

_NUMBER = re.compile(r"[<≤+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?( ?%| ms)?")


@dataclass(frozen=True)
class Text:
    """A paragraph; what is between backticks is code."""

    text: str
    kind: ClassVar[str] = "text"

    def markdown(self) -> str:
        """Return it as Markdown."""
        return _one_line(self.text)


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    kind: ClassVar[str] = "bullets"

    def markdown(self) -> str:
        """Return it as Markdown."""
        return "\n".join(f"- {_one_line(item)}" for item in self.items)


@dataclass(frozen=True)
class Table:
    """Cells of text; columns of numbers are told from the others by themselves."""

    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers alone."""
        return tuple(all(map(_is_number, column)) for column in zip(*self.rows, strict=True)) or (
            False,
        ) * len(self.head)

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


@dataclass(frozen=True)
class Figure:
    """A chart and what it shows; only pages show it.

    With `cells` (`labels`, `totals` of classes, `cells` of row, column and clips) a pointer over it
    is told what is there, and it can be enlarged.
    """

    drawing: Drawing
    caption: str
    cells: Mapping[str, Any] | None = None
    kind: ClassVar[str] = "figure"

    def markdown(self) -> str:
        """Return nothing."""
        return ""


@dataclass(frozen=True)
class Clip:
    """A video: its name, what to say of it, and pictures of it (JPEG)."""

    name: str
    lines: tuple[str, ...]
    pictures: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Clips:
    """Videos with pictures; only pages show them."""

    clips: tuple[Clip, ...]
    kind: ClassVar[str] = "clips"

    def markdown(self) -> str:
        """Return nothing."""
        return ""


Part = Text | Bullets | Table | Figure | Clips


@dataclass(frozen=True)
class Section:
    """A title and what stands under it."""

    title: str
    parts: tuple[Part, ...]

    def markdown(self) -> str:
        """Return it as Markdown."""
        return "\n\n".join([f"## {self.title}", *filter(None, (p.markdown() for p in self.parts))])


def render(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page: a title, paragraphs under it, and sections.

    >>> page = render("<b>", ["of `a`"], [Section("One", (Table(("n",), [("1",)]),))])
    >>> "<b>" in page, "&lt;b&gt;" in page, "of <code>a</code>" in page
    (False, True, True)
    """
    style = "\n".join((STATIC / name).read_text("utf-8") for name in ("report.css", "chart.css"))
    script = (STATIC / "report.js").read_text("utf-8")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hashed(style)}; script-src {_hashed(script)}"
    )
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            style=Markup(style),
            script=Markup(script),
            policy=Markup(policy),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"prose": _prose, "svg": _svg, "jpeg": _jpeg, "data": _data}
    return environment


def _printable(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _prose(text: str) -> Markup:
    """Return escaped text, code where it stands between backticks."""
    pieces = printable(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece)
        for i, piece in enumerate(pieces)
    )


def _svg(drawing: Drawing) -> Markup:
    return Markup(drawing.markup(style=False))  # Drawing escapes


def _jpeg(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def _data(cells: Mapping[str, Any]) -> Markup:
    """Return JSON for a script element, which nothing in it can end."""
    text = json.dumps(cells, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _hashed(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _is_number(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell) is not None


def _one_line(text: str) -> str:
    """Return text of others as it may stand in Markdown: escaped, but for what is in backticks."""
    pieces = printable(text).split("`")
    return "`".join(p if i % 2 else re.sub("[<>]", _entity, p) for i, p in enumerate(pieces))


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _entity(found: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;"}[found[0]]
