"""Options of a command under titles of their own in its `--help`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_WIDEST = 30  # a longer name has its line to itself


@dataclass(frozen=True)
class OptionGroup:
    """Options that help shows together."""

    title: str
    options: Sequence[click.Option]


def option_group(title: str, *options: Decorator) -> Decorator:
    """Return what adds options to a command, as `click.option` does one; help has them together."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        facts = vars(command)  # where click keeps the parameters, and functools.wraps copies them
        known = len(facts.get("__click_params__", ()))
        for option in reversed(options):
            option(command)
        added = facts["__click_params__"][known:]  # the last decorator is applied first
        facts.setdefault("option_groups", []).insert(0, OptionGroup(title, added[::-1]))
        return command

    return add


class Command(click.Command):
    """A command whose help has a section for each `option_group`, and one for what is in none."""

    @property
    def option_groups(self) -> Sequence[OptionGroup]:
        """The groups, in the order of the decorators."""
        found: Sequence[OptionGroup] = getattr(self.callback, "option_groups", ())
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with their columns in line."""
        sections = {
            title: rows
            for title, options in self._sections(ctx)
            if (rows := [row for one in options if (row := one.get_help_record(ctx))])
        }
        write_sections(formatter, sections)

    def _sections(self, ctx: click.Context) -> Iterator[tuple[str, Sequence[click.Option]]]:
        grouped = {id(option) for group in self.option_groups for option in group.options}
        for group in self.option_groups:
            yield group.title, group.options
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        others = [option for option in options if id(option) not in grouped]
        yield "Other options" if grouped else "Options", others


def write_sections(
    formatter: click.HelpFormatter, sections: dict[str, list[tuple[str, str]]]
) -> None:
    """Write lists of (name, about) under their titles, all in the same two columns."""
    names = [name for rows in sections.values() for name, _ in rows]
    width = max((len(name) for name in names if len(name) <= _WIDEST), default=_WIDEST)
    for title, rows in sections.items():
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), about) for name, about in rows], col_max=width)


def command(name: str | None = None, **facts: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a `Command`, as `click.command` makes one of click's."""
    return click.command(name, cls=Command, **facts)
