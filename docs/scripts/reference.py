"""Write the parts of docs/ that code and results say: commands, schemas, names, figures.

    python docs/scripts/reference.py          # writes them
    python docs/scripts/reference.py --check  # names what is not current, exit code 1

A page has a place for such a part: `<!-- generated: KIND NAME -->` to `<!-- end of generated -->`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import edge_tsm
from edge_tsm.cli import main

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
sys.path.insert(0, str(ROOT))  # for benchmarks, which nothing installs
PLACE = re.compile(
    r"(<!-- generated: (\w[\w ]*?)(?: (\S+/\S+))? -->\n).*?(<!-- end of generated -->)", re.DOTALL
)
VALUES = {"text": "TEXT", "path": "PATH", "file": "FILE", "directory": "FOLDER"}  # else a number
Schema = dict[str, Any]


def command_line(_: str | None) -> str:
    """Return every command with its arguments and options, by its groups of them."""
    return "\n".join(_described(*named) for named in sorted(_commands(main, "edge-tsm")))


def _commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=name)
    for short in group.list_commands(context):
        command = group.get_command(context, short)  # which imports it
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} {short}")
        else:
            yield f"{name} {short}", command


def _described(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    usage = " ".join([name, "[OPTIONS]", *(a.make_metavar(context) for a in arguments)])
    parts = [f"## {name}\n\n```text\n{usage}\n```\n", _prose(command.help or "")]
    for title, options in _groups(command):
        rows = "".join(_row(option, context) for option in options)
        parts.append(f"**{title}**\n\n| option | |\n| --- | --- |\n{rows}")
    return "\n".join([*parts, _prose(command.epilog or "")])


def _groups(command: click.Command) -> Iterator[tuple[str, list[click.Option]]]:
    """Yield the groups of options in the order of `--help`."""
    grouped = list(getattr(command, "option_groups", []))
    for group in grouped:
        yield group.title or "Options", [o for o in group.options if not o.hidden]
    known = {id(option) for group in grouped for option in group.options}
    others = [p for p in command.params if isinstance(p, click.Option) and id(p) not in known]
    if others:
        yield ("Other" if grouped else "Options"), others


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag and not option.metavar else f" {_value(option)}"
    about = [option.help or "", _limits(option.type)]
    if option.show_default and option.default is not None:
        about.append(f"Default: {option.default}.")
    return f"| {names}{value} | {_cell(' '.join(filter(None, about)))} |\n"


def _value(option: click.Option) -> str:
    """Return what is to be given, without click's own words, which differ by its version."""
    if isinstance(option.type, click.Choice):
        choices = list(map(str, option.type.choices))
    else:
        given = option.metavar or VALUES.get(option.type.name, "N")
        choices = re.sub(r"^\[(.*\|.*)\]$", r"\1", given).split("|")
    return " or ".join(f"`{choice}`" for choice in choices)


def _limits(kind: click.ParamType) -> str:
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is None and high is None:
        return ""
    below = f" and below {high:g}" if getattr(kind, "max_open", False) else f" to {high}"
    above = f"Above {low:g}" if getattr(kind, "min_open", False) else f"From {low}"
    return f"{above}{'' if high is None else below}."


def _prose(text: str) -> str:
    """Return help as Markdown: paragraphs that keep their lines become blocks."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        kept = part.startswith("\b")
        lines = part.removeprefix("\b").strip("\n")
        parts.append(f"```text\n{lines}\n```" if kept else lines)
    return "\n\n".join(filter(None, parts)) + "\n"


def schema(name: str | None) -> str:
    """Return the tables of a JSON Schema that the package ships."""
    path = f"edge_tsm/{name}.schema.json"
    read: Schema = json.loads((ROOT / path).read_text(encoding="utf-8"))
    parts = [f"JSON Schema: `{path}`\n\n{_table(read)}"]
    for title, definition in read.get("$defs", {}).items():
        if "properties" in definition:
            told = (definition.get("title"), definition.get("description"))
            about = ". ".join(filter(None, told))
            parts.append(f"### {title}\n\n{about}.\n\n{_table(definition)}")
    return "\n".join(parts)


def _table(definition: Schema) -> str:
    rows = ["| key | type | |", "| --- | --- | --- |"]
    needed = definition.get("required", [])
    for key, value in definition["properties"].items():
        about = value.get("description", "")
        if needed and key not in needed:
            about = f"{about}; may be missing" if about else "may be missing"
        rows.append(f"| `{key}` | {_type(value)} | {_cell(about)} |")
    return "\n".join(rows) + "\n"


def _type(value: Schema) -> str:
    """Return a type in words; names of other tables are links to them."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    kinds = value.get("type", "any")
    name = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if "items" in value and "array" in name:
        return name.replace("array", f"list of {_type(value['items'])}")
    if isinstance(value.get("additionalProperties"), dict):
        return f"by name: {_type(value['additionalProperties'])}"
    return str(name)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def public_names(_: str | None) -> str:
    """Return mkdocstrings' directives for the public names of `edge_tsm`, by their rooms."""
    rooms: dict[str, list[str]] = {}
    for home, names in edge_tsm._HOMES.items():
        room = rooms.setdefault(f"edge_tsm.{home.split('.')[0]}", [])
        room += [f"::: edge_tsm.{home}.{name}\n" for name in names]
    return "\n".join(f"## {room}\n\n" + "\n".join(names) for room, names in rooms.items())


def released_checkpoints(_: str | None) -> str:
    """Return the table of checkpoints that others published."""
    from converters.checkpoints.released import markdown

    return f"{markdown()}\n"


def results(_: str | None) -> str:
    """Return the table of what was measured where."""
    from benchmarks.compare import overview

    return f"{overview(RESULTS)}\n"


def figures(_: str | None) -> str:
    """Return every figure of benchmarks/results."""
    from benchmarks.compare import markdown

    return markdown(RESULTS)


KINDS = {
    "command line": command_line,
    "schema": schema,
    "public names": public_names,
    "released checkpoints": released_checkpoints,
    "results": results,
    "figures": figures,
}


def filled(text: str) -> str:
    """Return a page with its generated parts as the code says now."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{KINDS[match[2]](match[3])}\n{match[4]}"

    return PLACE.sub(part, text)


def stale() -> Iterator[tuple[Path, str]]:
    """Yield the pages that are not current, with what they should be."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if text != (now := filled(text)):
            yield page, now


if __name__ == "__main__":
    pages = list(stale())
    for page, text in pages:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
    sys.exit("--check" in sys.argv and bool(pages))
