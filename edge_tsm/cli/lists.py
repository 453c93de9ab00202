"""How a list of clips is read: options for what it does not say, and lines that tell it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edge_tsm.cli.options import Decorator
from edge_tsm.data.clips import Dataset
from edge_tsm.data.listing import Roles, parse_columns


def _columns(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Roles | None:
    return None if text is None else parse_columns(text)


LIST_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--columns",
        metavar="ROLE,…",
        callback=_columns,
        help="What a list's columns are: path,frames,class; - is left out. [default: found]",
    ),
    click.option(
        "--first-class",
        type=click.IntRange(0, 1),
        help="What a list's class numbers start at. [default: 0, or as labels.txt]",
    ),
)


def as_read(dataset: Dataset) -> Iterator[str]:
    """Yield how a list was read, and what looks odd in it."""
    if dataset.reading is not None:
        yield str(dataset.reading)
    yield from (f"warning: {note}" for note in dataset.notes)
