"""Checkpoints that others published: what each is, and whether a file is what its name says.

`released.csv` holds what upstream's own tables and file names say; what they do not is empty.
mmaction2's names end with the first eight digits of the file's SHA-256.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from edge_tsm.bundle.data_sets import names_of

TABLE = Path(__file__).with_suffix(".csv")
_HASHED = re.compile(r".*-([0-9a-f]{8})\.(?:pth|pt|pth\.tar)")


@dataclass(frozen=True)
class Released:
    """A published checkpoint; what upstream does not say is "".

    `sha256` are the first digits, `frames` those of a clip (SlowFast: of its slow pathway) and
    `interval` what lies between two, `labels` a list that edge-tsm has, `top1` in percent, measured
    as `protocol` says.
    """

    code_base: str
    network: str
    file: str
    sha256: str
    frames: str
    interval: str
    sampling: str
    labels: str
    top1: str
    protocol: str
    url: str

    @property
    def accuracy(self) -> str:
        """The published accuracy and how it was measured."""
        how = f" ({self.protocol})" if self.protocol else " (protocol not published)"
        return f"top-1 {self.top1} %{how}"

    @property
    def clip(self) -> str:
        """Frames, and where there is one the interval: 8, 4x16."""
        return f"{self.frames}x{self.interval}" if self.interval else self.frames


@dataclass(frozen=True)
class Recognized:
    """A published checkpoint, by what it was recognized, and what contradicts that."""

    release: Released | None
    by: str = ""
    warnings: tuple[str, ...] = ()


@functools.cache
def released() -> tuple[Released, ...]:
    """Return all that are known.

    >>> len(released()) > 100
    True
    """
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return tuple(Released(**row) for row in csv.DictReader(stream))


def recognize(path: Path, sha256: str, classes: int) -> Recognized:
    """Say which published checkpoint a file is, by its content, else by its name and class count.

    A name that promises another content than the file has is warned of.

    >>> path = Path("TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth")
    >>> found = recognize(path, "00" * 32, 400)
    >>> found.by, found.release and found.release.accuracy
    ('file name', 'top-1 71.2 % (1 clip, center crop)')
    """
    for release in released():
        if release.sha256 and sha256.startswith(release.sha256):
            return Recognized(release, "SHA-256")
    named = [r for r in released() if r.file == path.name]
    fitting = [r for r in named if len(names_of(r.labels)) == classes]
    promised = _promised(path, named)
    if promised and not sha256.startswith(promised):
        return Recognized(None, "", (_contradiction(path, promised, sha256),))
    if len(fitting) == 1:
        return Recognized(fitting[0], "file name")
    return Recognized(None)


def _promised(path: Path, named: list[Released]) -> str:
    """Return the digits that a name promises; those of a published file are as the table says."""
    if named:
        return named[0].sha256
    found = _HASHED.fullmatch(path.name)
    return found[1] if found else ""


def _contradiction(path: Path, promised: str, sha256: str) -> str:
    return (
        f"{path.name}: its name promises a file whose SHA-256 starts with {promised}, it starts "
        f"with {sha256[:8]}: changed, damaged, or another file; download it again, or rename it"
    )


def markdown() -> str:
    """Return the table for people, a section for each code base."""
    return "\n\n".join(
        f"### {code_base}\n\n" + "\n".join(_lines(list(found)))
        for code_base, found in groupby(released(), lambda release: release.code_base)
    )


def _lines(found: list[Released]) -> Iterator[str]:
    yield "| network | file | SHA-256 | frames | sampling | labels | top-1 % | protocol |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for r in found:
        digits = f"`{r.sha256}…`" if r.sha256 else ""
        cells = (r.network, f"[{r.file}]({r.url})", digits, r.clip, r.sampling, r.labels)
        yield "| " + " | ".join((*cells, r.top1, r.protocol)) + " |"
