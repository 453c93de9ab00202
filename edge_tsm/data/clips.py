"""Labeled clips: lists in any dialect and folders of class folders, videos or frame folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_tsm.bundle.labels import LABELS_FILE, Labels, default_labels, label_key, labels_beside
from edge_tsm.data.annotations import foreign_format
from edge_tsm.data.finder import Finder
from edge_tsm.data.listing import ListRow, Roles, read_list
from edge_tsm.errors import InputError
from edge_tsm.sources import (
    IMAGE_SUFFIXES,
    FrameChooser,
    count_frames,
    ignored,
    is_hidden,
    is_video,
)
from edge_tsm.system.tables import Reading, clip, count, read_lines

NUMBERED_LABELS = (LABELS_FILE, "classInd.txt")  # what may say that classes count from 1


@dataclass(frozen=True)
class Sample:
    """One labeled clip: a video file or a folder of frames, and its class index.

    `name` is how the list spells it; `frames` is the count that the list gives, if it does; `line`
    is where it stands there.
    """

    path: Path
    label: int
    name: str
    frames: int | None = None
    line: int = field(default=0, compare=False)

    def within(self, choose: FrameChooser) -> FrameChooser:
        """Return a rule that takes a frame folder's first pictures only, as many as listed.

        As upstream does; a video's frames are what is decoded.
        """
        listed = self.frames
        if listed is None or listed < 1 or not self.path.is_dir():
            return choose
        return lambda frames: choose(min(frames, listed))


@dataclass(frozen=True)
class Dataset:
    """Labeled clips in the order of their list; `labels` are class names where these are known.

    `reading` tells how the list was read, `notes` what looks odd in it. `named` says that the list
    gives classes by names whose order nothing tells.
    """

    samples: tuple[Sample, ...]
    labels: tuple[str, ...] | None = None
    reading: Reading | None = None
    notes: tuple[str, ...] = ()
    named: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def classes(self) -> int:
        """One more than the highest class index, or the number of labels where these are known."""
        return len(self.labels) if self.labels else max(s.label for s in self.samples) + 1

    def of_classes(self, labels: Sequence[str]) -> Dataset:
        """Return the clips with class indices into `labels`: known names decide, not their order.

        Where the model's labels are `class_0`, … for want of names, indices are taken as they are.

        Raises:
            InputError: a class that is none of them.
        """
        nameless = tuple(labels) == default_labels(len(labels)).names
        if self.labels is not None and not nameless:
            index = [_place(label, labels) for label in self.labels]
            moved = tuple(replace(s, label=index[s.label]) for s in self)
            return replace(self, samples=moved, labels=tuple(labels))
        if self.named:
            raise InputError(
                f"the list names classes ({', '.join((self.labels or ())[:3])}), the model has no "
                "names for its own; convert it with --labels, or put labels.txt beside the list"
            )
        indices = [sample.label for sample in self]
        worst = max(self, key=lambda sample: sample.label)
        if worst.label == len(labels) and min(indices) == 1:
            raise InputError(
                f"classes of the list run from 1 to {worst.label}, the model's from 0 to "
                f"{len(labels) - 1}: if the list counts from 1, pass --first-class 1"
            )
        if worst.label >= len(labels):
            raise InputError(
                f"{worst.name} is of class {worst.label}, the model has 0 to "
                f"{len(labels) - 1}; is it the list of this model?"
            )
        return self


def _place(label: str, labels: Sequence[str]) -> int:
    """Return the index of a name, spelled as it is or as folders spell it."""
    if label in labels:
        return list(labels).index(label)
    keys = [label_key(name) for name in labels]
    if keys.count(label_key(label)) != 1:
        raise InputError(
            f"class {label!r} of the dataset is none of the model's labels "
            f"({', '.join(labels[:5])}{', …' if len(labels) > 5 else ''})"
        )
    return keys.index(label_key(label))


def read_dataset(
    path: Path,
    *,
    root: Path | None = None,
    columns: Roles | None = None,
    first_class: int | None = None,
) -> Dataset:
    r"""Read a list of clips in any dialect, or a folder of class folders.

    A line of a list has a path, its class (a number or a name) and maybe a frame count, cut by
    spaces, tabs, commas, semicolons or pipes, with a header or without: docs/tables.md. Paths are
    relative to `root`, by default the list's own folder; missing ones are found by
    `checks.check_files`. Class names come from labels.txt in the same folder where it names every
    class, else from class folders or the list.

    Args:
        path: the list or folder.
        root: where paths start.
        columns: the roles of the columns, see `listing.parse_columns`.
        first_class: the number of the first class, 0 or 1. By default what labels.txt counts from.

    Raises:
        InputError: missing, empty, a line that does not fit, several readings that differ, or a
            clip with two classes.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "val.csv").write_text("video,label\nclips/a.mp4,0\nclips/b.mp4,1\n")
    >>> _ = (folder / "labels.txt").write_text("swipe left\nswipe right\n")
    >>> dataset = read_dataset(folder / "val.csv")
    >>> dataset.labels, [(sample.name, sample.label) for sample in dataset]
    (('swipe left', 'swipe right'), [('clips/a.mp4', 0), ('clips/b.mp4', 1)])
    >>> print(dataset.reading)
    val.csv: UTF-8, comma with header; path 'clips/a.mp4', class '0'
    """
    if path.is_dir():
        return _read_folder(path)
    lines = read_lines(path)
    kind = foreign_format(path, lines)
    if kind:
        raise InputError(
            f"{path} is of the form {kind}, which names no files; make a list of it first: "
            f"edge-tsm frames {path} FOLDER --videos VIDEOS --labels-only"
        )
    finder = Finder(path.parent if root is None else root)
    found = read_list(lines, finder, count_frames, columns=columns)
    numbers = labels_beside(path.parent, NUMBERED_LABELS)
    rows, names, notes = _indexed(found.rows, numbers, first_class)
    samples = tuple(
        Sample(finder(row.path), int(row.label), row.path, row.frames, row.number) for row in rows
    )
    notes += _repeated(samples, path)
    if finder.moved:
        notes += (f"paths of {clip(finder.moved)} are taken below {finder.root}",)
    named = isinstance(found.rows[0].label, str) and not (numbers and numbers.names == names)
    return Dataset(samples, names, found.reading, notes, named)


def _indexed(
    rows: Sequence[ListRow], beside: Labels | None, first_class: int | None
) -> tuple[Sequence[ListRow], tuple[str, ...] | None, tuple[str, ...]]:
    """Return rows with class indices from 0, the names of classes if known, and notes."""
    known = beside.names if beside and Path(beside.source).name == LABELS_FILE else ()
    if isinstance(rows[0].label, str):
        given = sorted({str(row.label) for row in rows})
        keys = {label_key(name): i for i, name in enumerate(known)}
        names = known if {label_key(name) for name in given} <= set(keys) else tuple(given)
        keys = {label_key(name): i for i, name in enumerate(names)}
        return [replace(row, label=keys[label_key(str(row.label))]) for row in rows], names, ()
    indices = [int(row.label) for row in rows]
    first = first_class or 0
    notes: tuple[str, ...] = ()
    if first_class is None and beside and beside.first == 1 and min(indices) >= 1:
        first = 1
        notes = (f"classes count from 1, as {Path(beside.source).name} does",)
    if min(indices) < first:
        raise InputError(f"the list has a class {min(indices)}, so its first class is not {first}")
    enough = known if len(known) > max(indices) - first else None
    return [replace(row, label=int(row.label) - first) for row in rows], enough, notes


def _repeated(samples: Sequence[Sample], path: Path) -> tuple[str, ...]:
    """Return a note on clips listed twice.

    Raises:
        InputError: one is listed with two classes.
    """
    first: dict[Path, Sample] = {}
    again = []
    for sample in samples:
        before = first.setdefault(Path(os.path.normpath(sample.path)), sample)
        if before.label != sample.label:
            raise InputError(
                f"{path} line {sample.line}: {clip(sample.name)} is of another class in line "
                f"{before.line}; a clip has one class"
            )
        if before is not sample:
            again.append(sample)
    if not again:
        return ()
    return (f"{count(len(again), 'line')} repeated, as line {again[0].line}",)


def is_clip(path: Path) -> bool:
    """Return whether this is a video, or a folder of nothing but pictures.

    It may hold other files, but no videos and no folders: that would be a class.
    """
    if not path.is_dir():
        return is_video(path)
    with os.scandir(path) as entries:
        seen = [e for e in entries if not is_hidden(e.name)]
    files = [Path(e.path) for e in seen if not e.is_dir()]
    pictures = any(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    return pictures and len(files) == len(seen) and not any(map(is_video, files))


def clips_below(folder: Path) -> tuple[list[Path], str]:
    """Return the videos and frame folders below a folder, sorted, and a note on files left.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.mp4", "b.jpg.part", "notes.txt"):
    ...     (folder / name).touch()
    >>> clips, note = clips_below(folder)
    >>> [clip.name for clip in clips], note
    (['a.mp4'], '2 files ignored: b.jpg.part, notes.txt')
    """
    found: list[Path] = []
    left: list[Path] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if not is_hidden(name)]
        if is_clip(here):
            found.append(here)
            continue
        for file in (here / name for name in files if not is_hidden(name)):
            (found if is_video(file) else left).append(file)
    return sorted(found), ignored(str(file.relative_to(folder)) for file in left)


def _own_labels(folder: Path, classes: int) -> tuple[str, ...] | None:
    """Return the names in labels.txt if these are enough; else the file belongs to other lists."""
    labels = labels_beside(folder, (LABELS_FILE,))
    return labels.names if labels and len(labels.names) >= classes else None


def _read_folder(root: Path) -> Dataset:
    """Every class is a folder; class indices follow labels.txt, else the sorted names as upstream.

    The order matters where `edge-tsm frames` wrote the folder: "a b" became a_b, which sorts
    elsewhere.
    """
    inside = sorted(p for p in root.iterdir() if not is_hidden(p.name))
    loose = [p for p in inside if is_clip(p)]
    folders = [p for p in inside if p.is_dir() and p not in loose]
    names = tuple(folder.name for folder in folders)
    labels = _own_labels(root, len(folders)) or ()
    keys = [label_key(label) for label in labels]
    ours = len(set(keys)) == len(keys) and {label_key(name) for name in names} <= set(keys)
    entries = [
        (entry, keys.index(label_key(folder.name)) if ours else i)
        for i, folder in enumerate(folders)
        for entry in sorted(folder.iterdir())
        if not is_hidden(entry.name)
    ]
    kept = [(entry, label) for entry, label in entries if is_clip(entry)]
    samples = tuple(
        Sample(entry, label, f"{entry.parent.name}/{entry.name}") for entry, label in kept
    )
    if not samples:
        hint = "; clips without a class folder have no class: pass a list" if loose else ""
        raise InputError(f"{root}: holds no class folders with clips in them{hint}")
    taken = {entry for entry, _ in kept}
    other = ignored(f"{e.parent.name}/{e.name}" for e, _ in entries if e not in taken)
    notes = tuple(filter(None, (_beside(loose), other)))
    return Dataset(samples, labels if ours else names, notes=notes)


def _beside(loose: Sequence[Path]) -> str:
    """Return a note on clips beside class folders, empty without any."""
    if not loose:
        return ""
    shown = ", ".join(path.name for path in loose[:3]) + ", …" * (len(loose) > 3)
    return f"{count(len(loose), 'clip')} beside the class folders left out (no class): {shown}"
