"""What two lists share: videos, under one name or two, and parts of the same recordings.

A network that is validated on what it was trained on, or on the next seconds of the same recording,
looks better than it is on anything new.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.sources import pictures_of
from edge_tsm.system.tables import are, clip, count

_EDGE_BYTES = 1 << 16
# What the data sets call parts of one recording: UCF101 by group, Kinetics by YouTube's id.
_UCF = re.compile(r"^(v_.+_g\d+)_c\d+$", re.IGNORECASE)
_KINETICS = re.compile(r"^(.{11})_\d{6}_\d{6}$")
_TRAILING = re.compile(r"^(.*?[A-Za-z].*?)(?:[_\- .](?:clip|part|seg|segment|c)?\d+){1,2}$")


def overlap(train: Dataset, val: Dataset) -> tuple[str, ...]:
    """Return what the lists share, for a person to read.

    Videos count as equal by size and the bytes at both ends, frame folders by their number of
    pictures and the first and last of these. Recordings are told by names (see `recording_of`).

    Raises:
        SourceError: a folder that is no clip.
    """
    ours = {sample.path.absolute() for sample in train}
    same = [sample for sample in val if sample.path.absolute() in ours]
    other = [sample for sample in val if sample.path.absolute() not in ours]
    copies = list(_copies(train, other))
    notes = []
    if same:
        notes.append(
            f"{count(len(same), 'clip')} in both lists, as {clip(same[0].name)}: the validation "
            "flatters"
        )
    if copies:
        first, second = copies[0]
        notes.append(
            f"{count(len(copies), 'clip')} to validate by {are(len(copies))} also trained on "
            f"under another name, as {clip(first.name)} = {clip(second.name)}: the validation "
            "flatters"
        )
    return (*notes, *_recordings(train, other))


def recording_of(name: str, *, generic: bool = True) -> str | None:
    """Return the recording that a clip of this name is a part of, None where the name tells none.

    With `generic` also `NAME_3`, `NAME-part2`, `NAME_10_20`, as HMDB51 and many tools number parts.

    >>> recording_of("v_Archery_g02_c05.avi"), recording_of("x/0wR5jVB-WPk_000417_000427.mp4")
    ('v_Archery_g02', '0wR5jVB-WPk')
    >>> recording_of("garden cam_12.mp4"), recording_of("00017.mp4"), recording_of("fi017.mp4")
    ('garden cam', None, None)
    """
    file = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", file)
    for pattern in (_UCF, _KINETICS, *([_TRAILING] if generic else [])):
        if match := pattern.match(stem):
            return match[1]
    return None


def _recordings(train: Dataset, val: Iterable[Sample]) -> Iterator[str]:
    """Yield a note where clips to validate by come from recordings that are trained on.

    A name and a number are a recording's only where names are many: of `wave_1`, `wave_2`, … the
    name is the class.
    """
    names = {recording_of(sample.name) for sample in train} - {None}
    generic = len(names) > 2 * train.classes
    ours = {recording_of(sample.name, generic=generic) for sample in train} - {None}
    shared = [s for s in val if recording_of(s.name, generic=generic) in ours]
    if shared:
        name = recording_of(shared[0].name, generic=generic)
        yield (
            f"{count(len(shared), 'clip')} to validate by {are(len(shared))} of recordings that "
            f"are trained on, as {clip(shared[0].name)} ({clip(str(name))}): the validation "
            "flatters; keep all clips of a recording in one list"
        )


def _copies(train: Iterable[Sample], val: Iterable[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Yield pairs of equal clips; only those of equal size are read."""
    by_size = defaultdict[int, list[Sample]](list)
    for sample in train:
        by_size[_size(sample.path)].append(sample)
    digests: dict[Path, str] = {}
    for sample in val:
        size = _size(sample.path)
        for known in by_size.get(size, []) if size else []:
            if _digest(known.path, digests) == _digest(sample.path, digests):
                yield sample, known
                break


def _size(path: Path) -> int:
    """Return bytes of a video, pictures of a frame folder; 0 for what cannot be compared."""
    if path.is_dir():
        return len(pictures_of(path).files)
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, known: dict[Path, str]) -> str:
    if path not in known:
        files = pictures_of(path).files if path.is_dir() else [path]
        digest = hashlib.blake2b()
        for file in (files[0], files[-1]):
            with file.open("rb") as stream:
                digest.update(stream.read(_EDGE_BYTES))
                stream.seek(max(0, file.stat().st_size - _EDGE_BYTES))
                digest.update(stream.read(_EDGE_BYTES))
        known[path] = digest.hexdigest()
    return known[path]
