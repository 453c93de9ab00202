"""Class names: a file in whatever form people have it, or the built-in list of a data set."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_tsm.bundle.data_sets import (
    DATA_SETS,
    data_set,
    fitting,
    in_order,
    names_of,
    official_list,
)
from edge_tsm.bundle.label_forms import Entry, parse
from edge_tsm.errors import InputError
from edge_tsm.system.tables import Reading, clip, read_lines

LABELS_FILE = "labels.txt"  # this project's own
LABEL_FILES = (  # those of the data sets too
    LABELS_FILE,
    "classInd.txt",
    "kinetics_label_map.txt",
    "something-something-v2-labels.json",
    "something-something-v1-labels.csv",
    "jester-v1-labels.csv",
)


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the logits, and where they came from.

    `reading` tells how a file was read, `first` the index it gives to the first class, if it
    numbers them. `official` is the data set (of DATA_SETS) whose own list this is.
    """

    names: tuple[str, ...]
    source: str
    reading: Reading | None = None
    first: int | None = None
    official: str | None = None

    def of_code_base(self, name: str, sorts: Collection[str]) -> Labels:
        """Return the labels in the order in which a code base trains, which sorts `sorts`.

        >>> read_labels("jester").of_code_base("mit", {"jester"}).names[0]
        'Doing other things'
        """
        if self.official is None or self.official not in sorts:
            return self
        source = f"{self.source}, sorted as {name} sorts it"
        return replace(self, names=in_order(self.names, self.official, sorts), source=source)


def default_labels(classes: int) -> Labels:
    """Return class_0, class_1, …"""
    known = "".join(f" or {name}" for name in fitting(classes))
    source = f"default (pass --labels FILE{known})"
    return Labels(tuple(f"class_{i}" for i in range(classes)), source)


def label_key(name: str) -> str:
    """Return the form that names of one class share in lists, csv files and folder names.

    As upstream's tools/gen_label_kinetics.py: "petting animal (not cat)" is petting_animal_not_cat.
    """
    return re.sub(r"[\"'()\[\]]", "", name).replace(" ", "_")


def read_labels(file: str | Path) -> Labels:
    r"""Read a label file, or the built-in names of a data set, in the order they have there.

    A file has one name per line, with a number before or after it or none; a table with a column
    of indices, whatever its delimiter, header and order of columns; JSON, YAML, a Python literal
    or pbtxt. docs/tables.md has the forms. The encoding is found (see `read_text`).

    Raises:
        InputError: not readable, empty, several readings that differ, a gap, or a duplicate name.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "category.txt").write_text("fight 1\nno fight 0\n")
    >>> labels = read_labels(folder / "category.txt")
    >>> labels.names
    ('no fight', 'fight')
    >>> print(labels.reading)
    category.txt: UTF-8, numbered lines; index '1', name 'fight'
    """
    path, known = Path(file), data_set(str(file))
    if known and not path.exists():
        return Labels(names_of(known), f"built-in {known}", official=known)
    try:
        lines = read_lines(path)
    except InputError as error:
        sets = "" if path.exists() else f"; built-in lists are {', '.join(DATA_SETS)}"
        raise InputError(f"labels {error}{sets}") from None
    found = parse(lines)
    twins = _check(found.entries, path)
    notes = (*found.notes, *twins)
    return Labels(
        tuple(entry.name for entry in found.entries),
        f"option --labels {path.name}",
        lines.reading(found.form, found.columns, *notes),
        found.first,
        official_list(path.name),
    )


def labels_beside(folder: Path, files: Sequence[str] = LABEL_FILES) -> Labels | None:
    """Return the labels in the first of `files` that `folder` has, None if it has none.

    Raises:
        InputError: see `read_labels`.
    """
    found = next((folder / name for name in files if (folder / name).is_file()), None)
    return replace(read_labels(found), source=str(found)) if found else None


def _check(entries: Sequence[Entry], path: Path) -> list[str]:
    """Refuse names that cannot be used; return what looks like a slip."""
    places: dict[str, Entry] = {}
    alike: dict[str, str] = {}
    notes = []
    if not entries:
        raise InputError(f"labels {path}: the file is empty")
    for entry in entries:
        if not entry.name or not entry.name.isprintable():
            what = "no name" if not entry.name else f"{entry.name!r} has control characters"
            raise InputError(f"{entry.place}: {what}")
        first = places.setdefault(entry.name, entry)
        if first is not entry:
            raise InputError(f"{entry.place}: duplicate label {clip(entry.name)}, as {first.place}")
        twin = alike.setdefault(entry.name.casefold(), entry.name)
        if twin != entry.name:
            notes.append(f"{clip(twin)} and {clip(entry.name)} differ in case only")
    return notes
