"""Labeled clips: upstream's list files and folders of class folders, videos or frame folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_tsm.bundle.labels import LABELS_FILE, default_labels, label_key, labels_beside
from edge_tsm.errors import InputError
from edge_tsm.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES


@dataclass(frozen=True)
class Sample:
    """One labeled clip: a video file or a folder of frames, and its class index.

    `name` is how the list spells it; `frames` is the count that the list gives, if it does.
    """

    path: Path
    label: int
    name: str
    frames: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Labeled clips in the order of their list; `labels` are class names where these are known."""

    samples: tuple[Sample, ...]
    labels: tuple[str, ...] | None = None

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
        if self.labels is not None and tuple(labels) != default_labels(len(labels)).names:
            for label in self.labels:
                if label not in labels:
                    raise InputError(
                        f"class {label!r} of the dataset is none of the model's labels "
                        f"({', '.join(labels[:5])}{', …' if len(labels) > 5 else ''})"
                    )
            index = [labels.index(label) for label in self.labels]
            moved = tuple(replace(s, label=index[s.label]) for s in self)
            return Dataset(moved, tuple(labels))
        for sample in self:
            if not 0 <= sample.label < len(labels):
                raise InputError(
                    f"{sample.name} is of class {sample.label}, the model has 0 to "
                    f"{len(labels) - 1}; is it the list of this model?"
                )
        return self


def read_dataset(path: Path, *, root: Path | None = None) -> Dataset:
    r"""Read a list file (`path class` or `path frames class`), or a folder of class folders.

    Paths in a list are relative to `root`, by default the list's own folder. The paths themselves
    are not checked here, but when a video is read. Class names come
    from labels.txt in the same folder where it names every class, else from class folders.

    Raises:
        InputError: missing, empty, or a line that is neither form (names file and line).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "val.txt").write_text("clips/a.mp4 0\nclips/b.mp4 1\n")
    >>> _ = (folder / "labels.txt").write_text("swipe left\nswipe right\n")
    >>> dataset = read_dataset(folder / "val.txt")
    >>> dataset.labels, [(sample.name, sample.label) for sample in dataset]
    (('swipe left', 'swipe right'), [('clips/a.mp4', 0), ('clips/b.mp4', 1)])
    """
    if path.is_dir():
        return _read_folder(path)
    base = path.parent if root is None else root
    samples = tuple(_sample(line, base, where) for line, where in list_lines(path))
    if not samples:
        raise InputError(f"{path}: holds no clips")
    return Dataset(samples, _own_labels(path.parent, max(s.label for s in samples) + 1))


def list_lines(path: Path) -> list[tuple[str, str]]:
    """Return (line, its place) for the lines of a text file that are not blank.

    Raises:
        InputError: missing, or not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of clips ({error})") from error
    lines = enumerate(text.splitlines(), 1)
    return [(line.strip(), f"{path} line {n}") for n, line in lines if line.strip()]


def is_clip(path: Path) -> bool:
    """Return whether this is a video, by its suffix, or a folder of nothing but pictures.

    It may hold other files, but no videos and no folders: that would be a class.
    """
    if not path.is_dir():
        return path.suffix.lower() in VIDEO_SUFFIXES
    with os.scandir(path) as entries:
        suffixes = {"/" if e.is_dir() else Path(e.name).suffix.lower() for e in entries}
    return not suffixes.isdisjoint(IMAGE_SUFFIXES) and suffixes.isdisjoint(VIDEO_SUFFIXES | {"/"})


def parse_line(line: str, where: str) -> tuple[str, int | None, int]:
    """Return path, frames (if given) and class of one line of a list.

    A path may hold spaces, so the numbers are taken from the right.

    Raises:
        InputError: neither `path class` nor `path frames class`.
    """
    parts = line.rsplit(maxsplit=2)
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return parts[0], int(parts[1]), int(parts[2])
    parts = line.rsplit(maxsplit=1)
    if len(parts) == 2 and parts[1].isdecimal():
        return parts[0], None, int(parts[1])
    raise InputError(f"{where}: {line!r:.80} is neither `path class` nor `path frames class`")


def _sample(line: str, base: Path, where: str) -> Sample:
    name, frames, label = parse_line(line, where)
    return Sample(base / name, label, name, frames)


def _own_labels(folder: Path, classes: int) -> tuple[str, ...] | None:
    """Return the names in labels.txt if these are enough; else the file belongs to other lists."""
    labels = labels_beside(folder, (LABELS_FILE,))
    return labels.names if labels and len(labels.names) >= classes else None


def _read_folder(root: Path) -> Dataset:
    """Every class is a folder; class indices follow labels.txt, else the sorted names as upstream.

    The order matters where `edge-tsm frames` wrote the folder: "a b" became a_b, which sorts
    elsewhere.
    """
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = tuple(folder.name for folder in folders)
    labels = _own_labels(root, len(folders)) or ()
    keys = [label_key(label) for label in labels]
    ours = len(set(keys)) == len(keys) and {label_key(name) for name in names} <= set(keys)
    samples = tuple(
        Sample(
            clip, keys.index(label_key(folder.name)) if ours else i, f"{folder.name}/{clip.name}"
        )
        for i, folder in enumerate(folders)
        for clip in sorted(folder.iterdir())
        if not clip.name.startswith(".") and is_clip(clip)
    )
    if not samples:
        hint = "; the folders in it are clips: pass a list" if any(map(is_clip, folders)) else ""
        raise InputError(f"{root}: holds no class folders with clips in them{hint}")
    return Dataset(samples, labels if ours else names)
