"""Labelled clips: upstream's list files and folders of class folders, videos or frame folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One labelled clip: a video file or a folder of frames, and its class index.

    `name` is how the list spells it; `frames` is the count that the list gives, if it does.
    """

    path: Path
    label: int
    name: str
    frames: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Labelled clips in the order of their list; `labels` are class names where these are known."""

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


def read_dataset(path: Path, *, root: Path | None = None) -> Dataset:
    """Read a list file (`path class` or `path frames class`), or a folder of class folders.

    Paths in a list are relative to `root`, by default the list's own folder. The paths themselves
    are not checked here: a missing video is the business of whoever reads it.

    Raises:
        InputError: not there, empty, or a line that is neither form (names file and line).
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of clips ({error})") from error
    base = path.parent if root is None else root
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    samples = tuple(_sample(line, base, f"{path} line {n}") for n, line in lines)
    if not samples:
        raise InputError(f"{path}: holds no clips")
    return Dataset(samples)


def _sample(line: str, base: Path, where: str) -> Sample:
    """Read one line; a path may hold spaces, so the numbers are taken from the right."""
    parts = line.rsplit(maxsplit=2)
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return Sample(base / parts[0], int(parts[2]), parts[0], int(parts[1]))
    parts = line.rsplit(maxsplit=1)
    if len(parts) == 2 and parts[1].isdecimal():
        return Sample(base / parts[0], int(parts[1]), parts[0])
    raise InputError(f"{where}: {line!r:.80} is neither `path class` nor `path frames class`")


def _read_folder(root: Path) -> Dataset:
    """Every class is a folder; class indices follow the sorted names, as upstream sorts them."""
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    samples = tuple(
        Sample(clip, index, f"{folder.name}/{clip.name}")
        for index, folder in enumerate(classes)
        for clip in sorted(folder.iterdir())
        if not clip.name.startswith(".")
    )
    if not samples:
        raise InputError(f"{root}: holds no class folders with clips in them")
    return Dataset(samples, tuple(folder.name for folder in classes))
