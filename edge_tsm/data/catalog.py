"""The videos of a data set, found for the rows of annotation files or in class folders."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from edge_tsm.bundle.labels import default_labels, label_key
from edge_tsm.data.annotations import UNUSED, Entry, Span, read_annotation, split_of
from edge_tsm.data.clips import is_clip
from edge_tsm.data.listing import Roles
from edge_tsm.errors import InputError
from edge_tsm.sources import VIDEO_SUFFIXES, is_hidden, is_video
from edge_tsm.system.tables import Reading

FOLDERS = "class folders"
MARKER = "frames.json"  # in folders that `edge-tsm frames` wrote
_SPLIT_FOLDERS = frozenset(("train", "training", "val", "valid", "validate", "validation", "test"))
_SIDE_FILES = frozenset((".txt", ".csv", ".json", ".md", ".tsv"))


@dataclass(frozen=True)
class CatalogClip:
    """One video (or frame folder).

    `name` is its folder in the result: the path below the videos' folder, without suffix and
    spaces. `span_s`, in seconds, is the part that is meant of what may be a whole recording.
    """

    path: Path
    name: str
    label: int
    split: str = ""
    span_s: Span | None = None


@dataclass(frozen=True)
class Skipped:
    """A video that is left out, and why."""

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class ListForm:
    """What the user says about annotations: format, a list's columns, its first class's number."""

    kind: str | None = None
    columns: Roles | None = None
    first_class: int | None = None


@dataclass(frozen=True)
class Catalog:
    """Clips in the order of their annotation, class names in the order of their indices.

    `readings` tell how annotations and labels were read.
    """

    formats: tuple[str, ...]
    labels: tuple[str, ...]
    clips: tuple[CatalogClip, ...]
    skipped: tuple[Skipped, ...]
    readings: tuple[Reading, ...] = ()


def read_catalog(
    sources: Sequence[Path],
    *,
    videos: Path | None = None,
    form: ListForm | None = None,
    labels: Sequence[str] | None = None,
) -> Catalog:
    """Find the videos that `sources`, class folders or annotation files, name.

    Args:
        sources: several are one data set, say its training and its validation list.
        videos: the folder below which the videos of an annotation lie; by default its own.
        form: what is known of the annotations' form; by default it is recognized by content.
        labels: class names in order; videos of other classes are left out. By default those
            beside the annotation, else all that it names, sorted as upstream does.

    Raises:
        InputError: a source that is missing, of no known form, or without a row; or classes that
            count from 1 without `form` saying so.
    """
    form, readings = form or ListForm(), list[Reading]()
    rows: list[tuple[Entry, _Tree]] = []
    skipped, formats, trees = list[Skipped](), dict[str, None](), dict[Path, _Tree]()
    for source in sources:
        if source.is_dir():
            tree = _Tree(source)
            formats[FOLDERS] = None
            rows += [(entry, tree) for entry in _class_folders(tree)]
            skipped += tree.stray
            continue
        root = videos or source.parent
        annotation = read_annotation(source, kind=form.kind, root=root, columns=form.columns)
        tree = trees.setdefault(root, _Tree(root))
        readings += [annotation.reading] if annotation.reading else []
        formats[annotation.kind] = None
        labels = labels or annotation.labels
        rows += [(entry, tree) for entry in annotation.entries]
        skipped += [Skipped(where, "malformed row") for where in annotation.malformed]
    rows = [(entry, tree) for entry, (_, tree) in zip(_from_zero(rows, form), rows, strict=True)]
    names = tuple(labels or _class_names([entry for entry, _ in rows]))
    resolve = _Resolver(names)
    items = [resolve(entry, tree) for entry, tree in rows]
    clips = tuple(item for item in items if isinstance(item, CatalogClip))
    skipped += [item for item in items if isinstance(item, Skipped)]
    return Catalog(tuple(formats), names, clips, tuple(skipped), tuple(readings))


def _from_zero(rows: Sequence[tuple[Entry, _Tree]], form: ListForm) -> list[Entry]:
    """Return entries whose class numbers count from 0.

    Raises:
        InputError: they count from 1, which would make an empty class 0, or not from where is said.
    """
    entries = [entry for entry, _ in rows]
    numbers = [entry.label for entry in entries if isinstance(entry.label, int)]
    first = form.first_class
    if first is None and numbers and min(numbers) == 1 and len(set(numbers)) == max(numbers) > 1:
        raise InputError(
            f"classes run from 1 to {max(numbers)}, none is 0: pass --first-class 1, or 0 if class "
            "0 has no clip"
        )
    if first and numbers and min(numbers) < first:
        raise InputError(f"--first-class {first}, but there is a class {min(numbers)}")
    return [
        replace(entry, label=entry.label - (first or 0)) if isinstance(entry.label, int) else entry
        for entry in entries
    ]


def hold_out(catalog: Catalog, share: float, *, seed: int = 0) -> Catalog:
    """Give every class's share of clips to val, the rest to train.

    Chosen by a hash of seed and name, so the same on every machine. Clips are taken one by one:
    those of one recording or scene can end up on both sides, which flatters the result.

    Raises:
        InputError: the annotation has splits of its own.
    """
    if any(clip.split for clip in catalog.clips):
        raise InputError("the annotation has its own splits; leave --val-share out")
    by_class = defaultdict[int, list[CatalogClip]](list)
    for clip in catalog.clips:
        by_class[clip.label].append(clip)
    chosen = set[str]()
    for clips in by_class.values():
        digests = {
            c.name: hashlib.sha256(f"{seed}/{c.name}".encode(errors="replace")) for c in clips
        }
        ordered = sorted(digests, key=lambda name: digests[name].digest())
        chosen.update(ordered[: round(share * len(ordered))])
    split = tuple(replace(c, split="val" if c.name in chosen else "train") for c in catalog.clips)
    return replace(catalog, clips=split)


class _Tree:
    """The clips below a folder, which is walked when a name is not found directly."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; pass the one that holds the videos")
        self.root = root
        self.stray: list[Skipped] = []

    @cached_property
    def clips(self) -> list[str]:
        """Return paths below the root, sorted; what is neither video nor picture is `stray`."""
        return sorted(self._walk())

    def find(self, entry: Entry) -> tuple[Path, bool] | str:
        """Return the entry's clip and whether it is the uncut recording, or why there is none."""
        for name in entry.names:
            if is_clip(self.root / name) and (self.root / name).exists():
                return self.root / name, False
        for name in (*entry.names, *filter(None, [entry.uncut])):
            found = self._index.get(_bare(name), [])
            if len(found) > 1:
                key = label_key(str(entry.label))
                found = [f for f in found if key in map(label_key, f.split("/"))] or found
            if len(found) > 1:
                found = [f for f in found if entry.split in map(split_of, f.split("/"))] or found
            if len(found) > 1:
                return "several files of that name"
            if found:
                return self.root / found[0], name == entry.uncut
        return "missing"

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """Clips by their path and by their file name, both without suffix."""
        index = defaultdict[str, list[str]](list)
        for clip in self.clips:
            for key in {_bare(clip), _bare(clip).rpartition("/")[2]}:
                index[key].append(clip)
        return index

    def _walk(self) -> Iterator[str]:
        seen = set[tuple[int, int]]()
        for folder, folders, files in os.walk(self.root, followlinks=True):
            here, stat = Path(folder), Path(folder).stat()
            ours = MARKER in files and here != self.root
            if ours or (stat.st_dev, stat.st_ino) in seen:  # seen: a link to a folder above
                folders.clear()
                continue
            seen.add((stat.st_dev, stat.st_ino))
            folders[:] = [name for name in folders if not is_hidden(name)]
            relative = here.relative_to(self.root)
            if not folders and is_clip(here):
                yield relative.as_posix()
                continue
            for name in (relative / name for name in files if not is_hidden(name)):
                if is_video(self.root / name):
                    yield name.as_posix()
                elif name.parent.name and name.suffix.lower() not in _SIDE_FILES:
                    self.stray.append(Skipped(name.as_posix(), "not a video"))


def _class_folders(tree: _Tree) -> list[Entry]:
    """Return the clips in class folders, which may be in folders called train, val and test."""
    paths = [tuple(clip.split("/")) for clip in tree.clips]
    own = split_of(tree.root.name) if tree.root.name.lower() in _SPLIT_FOLDERS else ""
    nested = bool(paths) and all(parts[0].lower() in _SPLIT_FOLDERS for parts in paths)
    depth = 2 if nested else 1
    entries = [
        Entry(("/".join(parts),), parts[depth - 1], split_of(parts[0]) if nested else own)
        for parts in paths
        if len(parts) > depth
    ]
    if not entries:
        raise InputError(
            f"{tree.root}: holds no class folders with videos in them; for videos without, pass "
            "an annotation file and --videos"
        )
    tree.stray += [
        Skipped("/".join(parts), "not in a class folder") for parts in paths if len(parts) <= depth
    ]
    return entries


class _Resolver:
    """Decides on entries one after the other; the first of several that clash wins."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._index = {label_key(name): i for i, name in enumerate(labels)}
        self._seen: dict[tuple[Path, Span | None], CatalogClip] = {}
        self._names: dict[str, Path] = {}

    def __call__(self, entry: Entry, tree: _Tree) -> CatalogClip | Skipped:
        """Return the clip, or why there is none."""
        label, shown = self._label(entry), entry.names[0]
        if entry.split == UNUSED:
            return Skipped(shown, "in neither split")
        if label is None:
            reason = "class not among the labels" if entry.label is not None else "no class given"
            return Skipped(shown, reason, str(entry.label or ""))
        found = tree.find(entry)
        if isinstance(found, str):
            return Skipped(shown, found)
        path, uncut = found
        name = _clip_name(path, tree.root, entry.names[0] if uncut else "")
        clip = CatalogClip(path, name, label, entry.split, entry.span_s if uncut else None)
        return self._clash(clip) or clip

    def _label(self, entry: Entry) -> int | None:
        if isinstance(entry.label, int):
            return entry.label if entry.label < len(self._index) else None
        return self._index.get(label_key(entry.label or ""))

    def _clash(self, clip: CatalogClip) -> Skipped | None:
        first = self._seen.setdefault((clip.path, clip.span_s), clip)
        if first is not clip:
            same = (first.label, first.split) == (clip.label, clip.split)
            reason = "duplicate row" if same else "listed again with another class or split"
            return Skipped(clip.name, reason)
        other = self._names.setdefault(clip.name, clip.path)
        if other != clip.path:
            return Skipped(str(clip.path), "its name in the result is taken", f"by {other}")
        return None


def _clip_name(path: Path, root: Path, file: str) -> str:
    """Return the path below `root` without suffix and spaces; upstream splits its lists at these.

    The name of `root` comes first if it is a split: train and val may repeat names.
    """
    below = path.relative_to(root) if path.is_relative_to(root) else Path("..")
    inside = ".." not in below.parts
    parts = list((below if inside else Path(path.parent.name, path.name)).parts)
    parts[-1] = file or _bare(parts[-1])
    if inside and root.name.lower() in _SPLIT_FOLDERS:
        parts.insert(0, root.name)
    return re.sub(r"\s", "_", "/".join(parts))


def _bare(name: str) -> str:
    """Return the name without the suffix of a video."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in VIDEO_SUFFIXES else name


def _class_names(entries: Iterable[Entry]) -> Sequence[str]:
    """Return all names sorted; for class numbers the folders' names where each has its own."""
    names = {label_key(e.label): e.label for e in entries if isinstance(e.label, str)}
    folders = defaultdict[int, set[str]](set)
    for entry in entries:
        if isinstance(entry.label, int):
            folders[entry.label].add(entry.names[0].rpartition("/")[0].rpartition("/")[2])
    if not folders:
        return sorted(names.values())
    named = [min(names) for _, names in sorted(folders.items()) if len(names) == 1 and min(names)]
    count = max(folders) + 1
    return named if len(set(named)) == count else default_labels(count).names
