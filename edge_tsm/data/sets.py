"""Lists of clips that may have several classes, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_tsm.bundle.labels import LABELS_FILE, default_labels, labels_beside
from edge_tsm.data.clips import Dataset, Sample, read_dataset
from edge_tsm.data.finder import Finder
from edge_tsm.data.listing import Roles, is_titled, with_roles
from edge_tsm.errors import InputError
from edge_tsm.system.tables import Line, Lines, Row, read_lines, tables, whole

NO_CLASS = "-"
_LINE = re.compile(r"^(?P<path>.+?)(?:\s+(?P<frames>\d+))?\s+(?P<classes>\d+(?:[,;|]\d+)*|-)$")
_CLASSES = re.compile(r"\d+(?:(?:\s*[,;|]\s*|\s+)\d+)*|-")


@dataclass(frozen=True)
class SetSample(Sample):
    """A clip that may have several classes: `labels`; `label` is the first of them, -1 for none."""

    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class SetDataset(Dataset):
    """Clips of a list that gives at least one of them several classes, or none."""

    @property
    def classes(self) -> int:
        """See `Dataset.classes`."""
        most = max((label for s in self for label in classes_of(s)), default=0)
        return len(self.labels) if self.labels else most + 1

    def of_classes(self, labels: Sequence[str]) -> Dataset:
        """See `Dataset.of_classes`."""
        index = list(range(len(labels)))
        named = self.labels is not None and tuple(labels) != default_labels(len(labels)).names
        if named and self.labels is not None:
            one_each = (Sample(Path(), i, name) for i, name in enumerate(self.labels))
            index = [s.label for s in Dataset(tuple(one_each), self.labels).of_classes(labels)]
        for sample in self:
            if any(label >= len(index) for label in classes_of(sample)):
                raise InputError(
                    f"{sample.name} is of class {max(classes_of(sample))}, the model has 0 to "
                    f"{len(labels) - 1}; is it the list of this model?"
                )
        moved = (_sample(s, tuple(index[label] for label in classes_of(s))) for s in self)
        return replace(self, samples=tuple(moved), labels=tuple(labels) if named else self.labels)


def classes_of(sample: Sample) -> tuple[int, ...]:
    """Return all classes of a clip."""
    return sample.labels if isinstance(sample, SetSample) else (sample.label,)


def truth_of(samples: Sequence[Sample], classes: int) -> NDArray[np.bool_]:
    """Return which clip has which class, (clips, classes)."""
    truth = np.zeros((len(samples), classes), np.bool_)
    for row, sample in zip(truth, samples, strict=True):
        row[list(classes_of(sample))] = True
    return truth


def gives_sets(path: Path) -> bool:
    """Return whether a list gives a clip several classes, or `-` for none, in any line."""
    return _has_sets(_best(read_lines(path), None))


def read_sets(
    path: Path,
    *,
    root: Path | None = None,
    columns: Roles | None = None,
    first_class: int | None = None,
) -> Dataset:
    """Read a list whose clips may have several classes: `path 1,4` or `path frames 1,4`.

    `;` and `|` stand for the comma too, `-` for no class; a clip in several lines has the classes
    of all. The same as a table with any delimiter, where classes may be cut by spaces too. What
    gives every clip one class is read as `read_dataset` does.

    Raises:
        InputError: a line that is neither form.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "val.txt"
    >>> _ = path.write_text("a.mp4 0,2\\nb.mp4 -\\nc.mp4 1\\n")
    >>> [classes_of(sample) for sample in read_sets(path)]
    [(0, 2), (), (1,)]
    """
    lines = read_lines(path) if path.is_file() else None
    rows = _best(lines, columns) if lines else []
    if lines is None or not (_has_sets(rows) or _differs(rows)):
        return read_dataset(path, root=root, columns=columns, first_class=first_class)
    read = {row.number for row in rows}
    titled = lines.lines[0].number not in read and _is_header(lines)
    if odd := {line.number for line in lines.lines[titled:]} - read:
        raise InputError(
            f"{path} line {min(odd)} is none of `path 1,4`, `path frames 1,4`, `path -`"
        )
    found: dict[str, tuple[_SetRow, set[int]]] = {}
    for row in rows:
        _, known = found.setdefault(row.path, (row, set()))
        known.update(_counted(row, path, first_class or 0))
    finder = Finder(path.parent if root is None else root)
    samples = tuple(
        _sample(Sample(finder(name), 0, name, row.frames, row.number), tuple(sorted(classes)))
        for name, (row, classes) in found.items()
    )
    dataset, beside = SetDataset(samples), labels_beside(path.parent, (LABELS_FILE,))
    enough = beside is not None and len(beside.names) >= dataset.classes
    return replace(dataset, labels=beside.names) if beside and enough else dataset


@dataclass(frozen=True)
class _SetRow:
    """A line: `classes` as written."""

    path: str
    frames: int | None
    classes: str
    number: int


def _best(lines: Lines, columns: Roles | None) -> list[_SetRow]:
    """Return the lines of a list in the way of cutting them that fits most.

    Of equal ones a header or a tab counts more than spaces, these more than what may cut classes.
    """
    cut = list(tables(lines.lines))
    sure = [rows for form, rows in cut if form == "tab" or is_titled(rows)]
    spaced = [row for line in lines.lines if (row := _spaced(line))] if columns is None else []
    ways = [_tabled(rows, columns) for rows in (*sure, *(rows for _, rows in cut))]
    return max([*ways[: len(sure)], spaced, *ways[len(sure) :]], key=len)


def _is_header(lines: Lines) -> bool:
    return any(is_titled(rows) for _, rows in tables(lines.lines))


def _spaced(line: Line) -> _SetRow | None:
    match = _LINE.match(line.text)
    if match is None:
        return None
    frames = int(match["frames"]) if match["frames"] else None
    return _SetRow(match["path"], frames, match["classes"], line.number)


def _tabled(rows: Sequence[Row], columns: Roles | None) -> list[_SetRow]:
    """Return the rows of a table whose class column holds numbers, or nothing."""
    found = with_roles(rows, columns)
    if found is None:
        return []
    result = []
    for row in found[1]:
        cells = dict(zip(found[0], row.cells, strict=True))
        classes = cells["class"].strip("[]() ") or NO_CLASS
        if _CLASSES.fullmatch(classes):
            result.append(
                _SetRow(cells["path"], whole(cells.get("frames", "")), classes, row.number)
            )
    return result


def _counted(row: _SetRow, path: Path, first_class: int) -> Iterator[int]:
    """Yield the classes of a line, counted from 0."""
    for text in re.findall(r"\d+", row.classes):
        if int(text) < first_class:
            raise InputError(f"{path} line {row.number}: class {text}, the first is {first_class}")
        yield int(text) - first_class


def _has_sets(rows: Sequence[_SetRow]) -> bool:
    return any(not row.classes.isdecimal() for row in rows)


def _differs(rows: Sequence[_SetRow]) -> bool:
    """Return whether a clip is in several lines, with different classes."""
    said = {(row.path, row.classes) for row in rows}
    return len({name for name, _ in said}) < len(said)


def _sample(sample: Sample, classes: tuple[int, ...]) -> SetSample:
    first = classes[0] if classes else -1
    return SetSample(sample.path, first, sample.name, sample.frames, sample.line, classes)
