"""Class names: one per line, or the official lists of the data sets TSM is trained on."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import InputError

LABELS_FILE = "labels.txt"  # this project's own
LABEL_FILES = (  # those of the data sets too
    LABELS_FILE,
    "classInd.txt",
    "kinetics_label_map.txt",
    "something-something-v2-labels.json",
    "something-something-v1-labels.csv",
    "jester-v1-labels.csv",
)
_NUMBERED = re.compile(r"^(\d{1,6})[\s,:;]+(.+)$")
# Jester's and Something-Something V1's own lists come in the data sets' order; upstream's
# tools/gen_label_*.py sort them into category.txt, so that is the order models were trained with.
_SORTED_UPSTREAM = re.compile(r"^(jester|something-something)-v1-labels\.csv$")


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the logits, and where they came from."""

    names: tuple[str, ...]
    source: str


def default_labels(classes: int) -> Labels:
    """Return class_0, class_1, …"""
    return Labels(tuple(f"class_{i}" for i in range(classes)), "default (pass --labels FILE)")


def label_key(name: str) -> str:
    """Return the form that names of one class share in lists, csv files and folder names.

    As upstream's tools/gen_label_kinetics.py: "petting animal (not cat)" is petting_animal_not_cat.
    """
    return re.sub(r"[\"'()\[\]]", "", name).replace(" ", "_")


def read_labels(file: str | Path) -> Labels:
    r"""Read a label file.

    Text with one name per line, numbered or not (`category.txt`, `kinetics_label_map.txt`,
    `classInd.txt`); csv with columns id and name; JSON as a list, {name: index}
    (Something-Something V2) or {index: name}.

    Raises:
        InputError: not readable, empty, a blank line, or a duplicate name.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "category.txt").write_text("swipe left\nswipe right\n")
    >>> read_labels(folder / "category.txt").names
    ('swipe left', 'swipe right')
    """
    path, note = Path(file), ""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"labels {path}: cannot be read ({error})") from error
    if path.suffix.lower() == ".json":
        names = _from_json(text, path)
    else:
        names = _from_lines(text, path)
        if _SORTED_UPSTREAM.match(path.name):
            names, note = sorted(names), ", sorted as upstream sorts it"
    _check(names, path)
    return Labels(tuple(names), f"option --labels {path.name}{note}")


def labels_beside(folder: Path, files: Sequence[str] = LABEL_FILES) -> tuple[str, ...] | None:
    """Return the class names in the first of `files` that `folder` has, None if it has none.

    Raises:
        InputError: see `read_labels`.
    """
    found = next((folder / name for name in files if (folder / name).is_file()), None)
    return read_labels(found).names if found else None


def _from_lines(text: str, path: Path) -> list[str]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if lines and re.fullmatch(r"id,\s*name", lines[0], re.IGNORECASE):
        rows = [row for row in csv.reader(lines[1:]) if len(row) == 2 and row[0].strip().isdigit()]
        if len(rows) != len(lines) - 1:
            raise InputError(f"labels {path}: not every line is `id,name`")
        return _ordered([(int(row[0]), row[1].strip()) for row in rows], path)
    for number, line in enumerate(lines, 1):
        if not line:
            raise InputError(f"labels {path}: line {number} is blank")
    numbered = [_NUMBERED.match(line) for line in lines]
    pairs = [(int(m[1]), m[2].strip()) for m in numbered if m]
    first = min((index for index, _ in pairs), default=0)
    # Only a complete count from 0 or 1 is numbering; "3 cups" among other names is a name.
    if (
        pairs
        and len(pairs) == len(lines)
        and sorted(i for i, _ in pairs) == _count(first, len(lines))
    ):
        return _ordered(pairs, path)
    return lines


def _from_json(text: str, path: Path) -> list[str]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"labels {path}: not JSON ({error})") from error
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return data
    if isinstance(data, dict):
        if all(str(value).isdecimal() for value in data.values()):
            return _ordered([(int(value), name) for name, value in data.items()], path)
        if all(key.isdecimal() for key in data):
            return _ordered([(int(key), str(value)) for key, value in data.items()], path)
    raise InputError(f"labels {path}: expected a list, {{name: index}} or {{index: name}}")


def _ordered(pairs: Sequence[tuple[int, str]], path: Path) -> list[str]:
    indices = sorted(index for index, _ in pairs)
    if not indices or indices[0] not in (0, 1) or indices != _count(indices[0], len(pairs)):
        raise InputError(f"labels {path}: the indices do not count from 0 or 1 without gaps")
    return [name for _, name in sorted(pairs)]


def _count(first: int, length: int) -> list[int]:
    return list(range(first, first + length)) if first in (0, 1) else []


def _check(names: Sequence[str], path: Path) -> None:
    if not names:
        raise InputError(f"labels {path}: the file is empty")
    for number, name in enumerate(names):
        if not name.isprintable():
            raise InputError(f"labels {path}: {name!r} has control characters")
        if name in names[:number]:
            raise InputError(f"labels {path}: duplicate label {name!r}")
