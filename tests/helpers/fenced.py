"""The code blocks of README and docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- ([^>]*) -->\s*\Z")  # the last comment before a block
_BREAKS = re.compile(r"[|;&]+")


@dataclass(frozen=True)
class Block:
    """A fenced block; `mark` is the comment before it: nightly, `not run: REASON`, or nothing."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        mark = _MARK.search(text[: found.start()])
        line = text.count("\n", 0, found.start()) + 1
        language = {"bash": "sh"}.get(found[2], found[2])
        yield Block(page, line, language, found[3], mark[1] if mark else "")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every `edge-tsm …`; brackets and dots of a synopsis are dropped."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if "edge-tsm " not in line:
            continue
        plain = re.sub(r"[\[\]…]|\.\.\.", " ", line)
        words = shlex.shlex(plain, posix=True, punctuation_chars="|;&")
        words.whitespace_split = True
        yield from _simple(list(words))


def _simple(words: list[str]) -> Iterator[list[str]]:
    """Yield the words behind `edge-tsm` at the start of a command."""
    breaks = [i for i, word in enumerate(words) if _BREAKS.fullmatch(word)]
    for start, end in zip([-1, *breaks], [*breaks, len(words)], strict=True):
        command = words[start + 1 : end]
        while command and re.match(r"\w+=", command[0]):
            command = command[1:]
        if command[:1] == ["edge-tsm"]:
            yield command[1:]


def parse(words: list[str]) -> None:
    """Parse a command line without running it: names, options, choices and ranges.

    Raises:
        click.UsageError: a command or option that does not exist, or a value that it does not take.
    """
    from edge_tsm.cli import main

    command: click.Command = main
    context = click.Context(main, info_name="edge-tsm")
    _, words, _ = main.make_parser(context).parse_args(list(words))
    while isinstance(command, click.Group) and words:
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no such command: {name}")
        command, context = found, click.Context(found, parent=context, info_name=name)
        if isinstance(command, click.Group):
            continue
        given, _, order = command.make_parser(context).parse_args(words)
        for option in order:
            if isinstance(option, click.Option) and isinstance(given.get(option.name), str | list):
                _convert(option, given[option.name], context)


def _convert(option: click.Option, value: str | list[str], context: click.Context) -> None:
    if isinstance(option.type, click.Choice | click.IntRange | click.FloatRange):
        for one in [value] if isinstance(value, str) else value:
            option.type.convert(one, option, context)
