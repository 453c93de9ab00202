"""Rules written into a TOML file that people keep: comments and all else stay."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edge_tsm.actions.rules import Threshold
from edge_tsm.errors import InputError
from edge_tsm.system.files import publish, read_bounded, temporary_beside

MOST_BYTES = 1 << 20


def text_of(path: Path) -> str:
    """Return what a file says; nothing, where there is none.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return read_bounded(path, MOST_BYTES).decode()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def edited(
    text: str,
    table: tuple[str, ...],
    values: Mapping[str, float | int],
    thresholds: Mapping[str, Threshold | None],
) -> str:
    """Return a TOML text with other values in one of its tables; None takes a threshold out.

    Raises:
        InputError: the text is not TOML.

    >>> print(edited("[a]\\non = 0.5 # yes\\n", ("a",), {"on": 0.6}, {"挥手": Threshold(0.8, 0.5)}))
    [a]
    on = 0.6 # yes
    <BLANKLINE>
    [a.thresholds]
    "挥手" = {on = 0.8, off = 0.5}
    <BLANKLINE>
    """
    try:
        document = tomlkit.parse(text)
        place = _table(document, table)
        for key, value in values.items():
            place[key] = value
        _edit_thresholds(place, thresholds)
    except TOMLKitError as error:
        raise InputError(f"not TOML ({error})") from error
    return tomlkit.dumps(document)


def _edit_thresholds(place: Any, thresholds: Mapping[str, Threshold | None]) -> None:
    for label, pair in thresholds.items():
        if pair is None:
            if "thresholds" in place:
                place["thresholds"].pop(label, None)
            continue
        if "thresholds" not in place:
            place["thresholds"] = tomlkit.table()
        inline = tomlkit.inline_table()
        inline.update({"on": pair.on, "off": pair.off})
        place["thresholds"][label] = inline


def _table(document: Any, names: tuple[str, ...]) -> Any:
    place = document
    for name in names:
        if name not in place:
            place[name] = tomlkit.table()
        place = place[name]
    return place


def replace_text(path: Path, text: str) -> None:
    """Replace a file in one step; it keeps its permissions, and a new one is its owner's.

    Raises:
        SinkError: it cannot be written.
    """
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        publish(temporary, path, private=True)
        path.chmod(mode)
    finally:
        temporary.unlink(missing_ok=True)


def difference(before: str, after: str, name: str) -> str:
    """Return a unified diff of two texts: changed lines alone, as others may hold secrets.

    >>> print(difference("on = 0.5\\n", "on = 0.6\\n", "rules.toml").splitlines()[-1])
    +on = 0.6
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, f"{name} (before)", f"{name} (after)", n=0))
