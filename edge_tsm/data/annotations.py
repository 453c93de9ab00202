"""Annotation files of video data sets: which videos they name, their classes and splits."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_tsm.bundle.data_sets import SORTED_UPSTREAM
from edge_tsm.bundle.labels import labels_beside
from edge_tsm.data.clips import list_lines, parse_line
from edge_tsm.errors import InputError

Span = tuple[float, float]
Text = list[tuple[str, str]]  # (line, its place), no blank ones
Read = Iterator["Entry | str"]  # a str is the place of a row that is not of the file's form
_SPLITS = re.compile(r"(?<![a-z])(train|val|test)")
UNUSED = "unused"
_HMDB_FILE = re.compile(r"^(.+)_test_split\d\.txt$")
_HMDB_SPLITS = {"0": UNUSED, "1": "train", "2": "test"}
_UCF_NAME = re.compile(r"^([^/\s]+)/v_\w+_g\d+_c\d+(\.\w+)?(\s+\d+)?$")


@dataclass(frozen=True)
class Entry:
    """One video that an annotation names.

    `names` are the paths or file names it may have, likeliest first, the suffix optional. `uncut`
    is the name of the whole recording of which `span_s`, in seconds, is the part. `label` is a
    class name, an index into a list of names, or None where the annotation does not say.
    """

    names: tuple[str, ...]
    label: str | int | None
    split: str = ""
    uncut: str | None = None
    span_s: Span | None = None


@dataclass(frozen=True)
class Annotation:
    """The content of a file: its format, videos, the class names beside it, unreadable rows."""

    kind: str
    entries: tuple[Entry, ...]
    labels: tuple[str, ...] | None
    malformed: tuple[str, ...]


def read_annotation(path: Path, *, kind: str | None = None) -> Annotation:
    """Read an annotation file of format `kind` (of KINDS), by default recognized by content.

    Raises:
        InputError: not readable, of no known format, or without one readable row.
    """
    text = list_lines(path)
    name = kind or _recognize(path, text)
    items = list(_READERS[name](path, text, split_of(path.stem)))
    entries = tuple(item for item in items if isinstance(item, Entry))
    malformed = tuple(item for item in items if isinstance(item, str))
    if not entries:
        first = malformed[0] if malformed else "it is empty"
        raise InputError(f"{path}: no row of the form {name} ({first}); pass another --format")
    found = labels_beside(path.parent)
    labels = found.of_code_base("upstream", SORTED_UPSTREAM).names if found else None
    return Annotation(name, entries, labels, malformed)


def _recognize(path: Path, text: Text) -> str:
    """Return the format that most of the first rows have; `list`, the plainest, if none."""
    first = text[0][0] if text else ""
    head = [line for line, _ in text[:20]]

    def mostly(form: str | re.Pattern[str]) -> bool:
        return 2 * sum(bool(re.search(form, line)) for line in head) > len(head)

    if first.startswith(("{", "[")):
        return "something-v2" if first.startswith("[") else "kinetics-json"
    if "youtube_id" in first.lower():
        return "kinetics-csv"
    if mostly(r"^\d+(;|$)"):
        return "id-label"
    if _HMDB_FILE.match(path.name) and mostly(r"\s[012]$"):
        return "hmdb51"
    if mostly(_UCF_NAME):
        return "ucf101"
    return "list"


def _kinetics_csv(_path: Path, text: Text, split: str) -> Read:
    """label, youtube_id, time_start, time_end, split; test lists have no label."""
    header = [name.strip().lower() for name in next(csv.reader([text[0][0]]))]
    for line, where in text[1:]:
        row = dict(zip(header, next(csv.reader([line])), strict=False))
        span = (row.get("time_start", ""), row.get("time_end", ""))
        yield (
            _kinetics(
                row.get("youtube_id"), span, row.get("label"), split_of(row.get("split")) or split
            )
            or where
        )


def _kinetics_json(path: Path, _text: Text, split: str) -> Read:
    """{youtube_id: {annotations: {label, segment}, subset}}."""
    for name, facts in _items(_load(path)):
        facts = facts if isinstance(facts, dict) else {}
        found = facts.get("annotations")
        found = found if isinstance(found, dict) else {}
        entry = _kinetics(
            name, found.get("segment"), found.get("label"), split_of(facts.get("subset")) or split
        )
        yield entry or f"{path} entry {name!r}"


def _kinetics(name: Any, span: Any, label: Any, split: str) -> Entry | None:
    """Return the entry under the names that downloaders give, None if the row is broken.

    `id_000012_000022` from the official crawler, `id_12_22` from others, `id` for the recording.
    """
    try:
        start_s, end_s = (float(value) for value in span)
    except (TypeError, ValueError):
        return None
    if not name or not isinstance(name, str):
        return None
    start, end = int(start_s), int(end_s)
    names = (f"{name}_{start:06d}_{end:06d}", f"{name}_{start}_{end}")
    return Entry(names, _text(label), split, uncut=name, span_s=(start_s, end_s))


def _something_v2(path: Path, _text_: Text, split: str) -> Read:
    """[{id, label, template}]: the class is the template without its brackets."""
    for number, (_, row) in enumerate(_items(_load(path)), 1):
        if not isinstance(row, dict) or not str(row.get("id", "")).strip():
            yield f"{path} entry {number}"
            continue
        template = _text(row.get("template"))
        label = re.sub(r"[\[\]]", "", template) if template else None
        yield Entry((str(row["id"]).strip(),), label, split)


def _id_label(_path: Path, text: Text, split: str) -> Read:
    """`id;label` of Something-Something V1 and Jester; `id` alone in their test lists."""
    for line, where in text:
        name, _, label = line.partition(";")
        known = name.strip().isdecimal()
        yield Entry((name.strip(),), _text(label), split) if known else where


def _ucf101(_path: Path, text: Text, split: str) -> Read:
    """`Class/v_Class_g01_c01.avi`, with its number or without: the folder is the class."""
    for line, where in text:
        name = re.sub(r"\s+\d+$", "", line)
        folder, _, file = name.partition("/")
        yield Entry((name, file), folder, split) if _UCF_NAME.match(name) else where


def _hmdb51(path: Path, text: Text, _split_: str) -> Read:
    """`name.avi 1` in CLASS_test_split1.txt; 1 is for training, 2 for testing, 0 for neither."""
    match = _HMDB_FILE.match(path.name)
    if not match:
        raise InputError(f"{path}: hmdb51 lists are called CLASS_test_split1.txt")
    for line, where in text:
        name, _, number = line.rpartition(" ")
        known = number in _HMDB_SPLITS and name
        yield Entry((name.strip(),), match[1], _HMDB_SPLITS[number]) if known else where


def _list(_path: Path, text: Text, split: str) -> Read:
    """`path class` or `path frames class`, upstream's and this project's own."""
    for line, where in text:
        try:
            name, _, label = parse_line(line, where)
        except InputError:
            yield where
        else:
            yield Entry((name,), label, split)


_READERS: dict[str, Callable[[Path, Text, str], Read]] = {
    "kinetics-csv": _kinetics_csv,
    "kinetics-json": _kinetics_json,
    "something-v2": _something_v2,
    "id-label": _id_label,
    "ucf101": _ucf101,
    "hmdb51": _hmdb51,
    "list": _list,
}
KINDS = tuple(_READERS)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error


def _items(data: Any) -> list[tuple[Any, Any]]:
    if isinstance(data, dict):
        return list(data.items())
    return list(enumerate(data)) if isinstance(data, list) else []


def _text(value: Any) -> str | None:
    """Return a name without the space around it; None for nothing."""
    return " ".join(value.split()) or None if isinstance(value, str) else None


def split_of(value: Any) -> str:
    """Return train, val or test for what data sets call them."""
    match = _SPLITS.search(value.lower()) if isinstance(value, str) else None
    return match[1] if match else ""
