"""Annotation files of video data sets: which videos they name, their classes and splits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge_tsm.bundle.data_sets import SORTED_UPSTREAM
from edge_tsm.bundle.labels import labels_beside
from edge_tsm.data.finder import Finder
from edge_tsm.data.listing import Roles, read_list
from edge_tsm.errors import InputError
from edge_tsm.sources import count_frames
from edge_tsm.system.tables import (
    DELIMITERS,
    Lines,
    Reading,
    Row,
    read_lines,
    split_rows,
    tables,
    word,
)

Span = tuple[float, float]
Read = Iterator["Entry | str"]  # a str is the place of a row that is not of the file's form
_SPLITS = re.compile(r"(?<![a-z])(train|val|test)")
UNUSED = "unused"
_HMDB_FILE = re.compile(r"^(.+)_test_split\d\.txt$")
_HMDB_SPLITS = {"0": UNUSED, "1": "train", "2": "test"}
_HMDB_LINE = re.compile(r"^(\S.*\S)\s+([012])$")
_UCF_NAME = re.compile(r"^([^/\s]+)/v_\w+_g\d+_c\d+(\.\w+)?(\s+\d+)?$")
_ID_LABEL = re.compile(r"^(\d+)\s*(?:;\s*(.*)|[,\t|]\s*([^\d\s].*)|)$")
_KINETICS = {  # titles that copies of Kinetics' csv have
    "id": ("youtube_id", "youtubeid", "ytid", "yt_id", "video_id", "videoid", "id"),
    "start": ("time_start", "start_time", "start", "start_seconds", "start_sec", "t_start"),
    "end": ("time_end", "end_time", "end", "end_seconds", "end_sec", "t_end"),
    "label": ("label", "class", "class_name", "label_name", "action", "category"),
    "split": ("split", "subset", "phase"),
}
_FOREIGN = ("kinetics-csv", "kinetics-json", "something-v2")


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
    reading: Reading | None = None


def read_annotation(
    path: Path,
    *,
    kind: str | None = None,
    root: Path | None = None,
    columns: Roles | None = None,
) -> Annotation:
    """Read an annotation file of format `kind` (of KINDS), by default recognized by content.

    Of a list, `root` is where paths start and `columns` are what its columns hold.

    Raises:
        InputError: not readable, of no known format, or without one readable row.
    """
    lines = read_lines(path)
    name = kind or ("list" if columns else _recognize(path, lines))
    if name == "list":
        entries, reading = _list(lines, root or path.parent, columns)
        malformed: tuple[str, ...] = ()
    else:
        items = list(_READERS[name](lines, split_of(path.stem)))
        entries = tuple(item for item in items if isinstance(item, Entry))
        malformed = tuple(item for item in items if isinstance(item, str))
        reading = lines.reading(name, {"video": entries[0].names[0]} if entries else {})
    if not entries:
        first = malformed[0] if malformed else "it is empty"
        raise InputError(f"{path}: no row of the form {name} ({first}); pass another --format")
    found = labels_beside(path.parent)
    labels = found.of_code_base("upstream", SORTED_UPSTREAM).names if found else None
    return Annotation(name, entries, labels, malformed, reading)


def foreign_format(path: Path, lines: Lines) -> str | None:
    """Return the format of a file that is an annotation and no list of clips, else None.

    Raises:
        InputError: JSON that is none of the annotations known here.
    """
    kind = _recognize(path, lines)
    key = {"kinetics-json": '"annotations"', "something-v2": '"id"'}.get(kind, "")
    if key not in lines.content[:100_000]:
        raise InputError(
            f"{path} is JSON of no known form; write a line `path class` for each clip"
        )
    return kind if kind in _FOREIGN else None


def _recognize(path: Path, lines: Lines) -> str:
    """Return the format that most of the first rows have; `list`, the plainest, if none."""
    head = [line.text for line in lines.lines[:20]]

    def mostly(form: str | re.Pattern[str]) -> bool:
        return 2 * sum(bool(re.search(form, line)) for line in head) > len(head)

    if head and head[0].startswith(("{", "[")):
        return "something-v2" if head[0].startswith("[") else "kinetics-json"
    if _kinetics_table(lines) is not None:
        return "kinetics-csv"
    if mostly(_ID_LABEL):
        return "id-label"
    if _HMDB_FILE.match(path.name) and mostly(_HMDB_LINE):
        return "hmdb51"
    if mostly(_UCF_NAME):
        return "ucf101"
    return "list"


def _kinetics_csv(lines: Lines, split: str) -> Read:
    """label, youtube_id, time_start, time_end, split in any order; test lists have no label."""
    found = _kinetics_table(lines)
    if found is None:
        yield from (lines.place(line.number) for line in lines.lines[:1])
        return
    places, rows = found
    for row in rows:
        facts = {
            role: row.cells[j] if j is not None and j < len(row.cells) else ""
            for role, j in places.items()
        }
        entry = _kinetics(
            facts["id"],
            (facts["start"], facts["end"]),
            facts["label"],
            split_of(facts["split"]) or split,
        )
        yield entry or lines.place(row.number)


Places = dict[str, "int | None"]  # where each of _KINETICS is in a row


def _kinetics_table(lines: Lines) -> tuple[Places, Sequence[Row]] | None:
    """Return the columns of Kinetics' csv, by its header or by what they hold, and its rows."""
    for delimiter in DELIMITERS:
        rows = split_rows(lines.lines, delimiter)
        words = [word(cell) for cell in rows[0].cells] if rows else []
        places: Places = {
            role: next((words.index(title) for title in titles if title in words), None)
            for role, titles in _KINETICS.items()
        }
        if rows and None not in (places["id"], places["start"], places["end"]):
            return places, rows[1:]
    for _, rows in tables(lines.lines):
        if places := _kinetics_columns(rows):
            return places, rows
    return None


def _kinetics_columns(rows: Sequence[Row]) -> Places:
    """Return the columns of a table without header if they are a video, a time span and more."""
    columns = list(zip(*(row.cells for row in rows), strict=True))
    numbers = [j for j, cells in enumerate(columns) if all(map(_seconds, cells))]
    videos = [j for j, cells in enumerate(columns) if all(map(_is_youtube, cells))]
    spans = [
        (a, b)
        for a, b in pairwise(numbers)
        if all(float(x) < float(y) for x, y in zip(columns[a], columns[b], strict=True))
    ]
    if len(videos) != 1 or len(spans) != 1:
        return {}
    taken = {videos[0], *numbers}
    splits = [j for j in range(len(columns)) if j not in taken and all(map(split_of, columns[j]))]
    names = [j for j in range(len(columns)) if j not in {*taken, *splits}]
    return {
        "id": videos[0],
        "start": spans[0][0],
        "end": spans[0][1],
        "label": names[0] if names else None,
        "split": splits[0] if splits else None,
    }


def _seconds(cell: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d*)?", cell))


def _is_youtube(cell: str) -> bool:
    return bool(re.fullmatch(r"[\w-]{11}", cell, re.ASCII)) and not cell.isdecimal()


def _kinetics_json(lines: Lines, split: str) -> Read:
    """{youtube_id: {annotations: {label, segment}, subset}}."""
    for name, facts in _items(_load(lines)):
        facts = facts if isinstance(facts, dict) else {}
        found = facts.get("annotations")
        found = found if isinstance(found, dict) else {}
        entry = _kinetics(
            name, found.get("segment"), found.get("label"), split_of(facts.get("subset")) or split
        )
        yield entry or f"{lines.path} entry {name!r}"


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


def _something_v2(lines: Lines, split: str) -> Read:
    """[{id, label, template}]: the class is the template without its brackets."""
    for number, (_, row) in enumerate(_items(_load(lines)), 1):
        if not isinstance(row, dict) or not str(row.get("id", "")).strip():
            yield f"{lines.path} entry {number}"
            continue
        template = _text(row.get("template"))
        label = re.sub(r"[\[\]]", "", template) if template else None
        yield Entry((str(row["id"]).strip(),), label, split)


def _id_label(lines: Lines, split: str) -> Read:
    """`id;label` of Something-Something V1 and Jester; `id` alone in their test lists."""
    for line in lines.lines:
        known = _ID_LABEL.match(line.text)
        label = (known[2] or known[3]) if known else None
        yield Entry((known[1],), _text(label), split) if known else lines.place(line.number)


def _ucf101(lines: Lines, split: str) -> Read:
    """`Class/v_Class_g01_c01.avi`, with its number or without: the folder is the class."""
    for line in lines.lines:
        name = re.sub(r"\s+\d+$", "", line.text)
        folder, _, file = name.partition("/")
        known = _UCF_NAME.match(name)
        yield Entry((name, file), folder, split) if known else lines.place(line.number)


def _hmdb51(lines: Lines, _split_: str) -> Read:
    """`name.avi 1` in CLASS_test_split1.txt; 1 is for training, 2 for testing, 0 for neither."""
    match = _HMDB_FILE.match(lines.path.name)
    if not match:
        raise InputError(f"{lines.path}: hmdb51 lists are called CLASS_test_split1.txt")
    for line in lines.lines:
        known = _HMDB_LINE.match(line.text.strip())
        yield (
            Entry((known[1],), match[1], _HMDB_SPLITS[known[2]])
            if known
            else lines.place(line.number)
        )


def _list(lines: Lines, root: Path, columns: Roles | None) -> tuple[tuple[Entry, ...], Reading]:
    """A list of clips in any dialect, upstream's and this project's own among them."""
    finder = Finder(root)
    found = read_list(lines, finder, count_frames, columns=columns)
    split = split_of(lines.path.stem)
    entries = (Entry((_below(finder, row.path),), row.label, split) for row in found.rows)
    return tuple(entries), found.reading


def _below(finder: Finder, name: str) -> str:
    """Return the path of a clip below the finder's folder if it is there, else as written."""
    path = finder(name)
    inside = path.exists() and path.is_relative_to(finder.root)
    return path.relative_to(finder.root).as_posix() if inside else name


_READERS: dict[str, Callable[[Lines, str], Read]] = {
    "kinetics-csv": _kinetics_csv,
    "kinetics-json": _kinetics_json,
    "something-v2": _something_v2,
    "id-label": _id_label,
    "ucf101": _ucf101,
    "hmdb51": _hmdb51,
}
KINDS = (*_READERS, "list")


def _load(lines: Lines) -> Any:
    try:
        return json.loads(lines.content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{lines.path}: not JSON ({error})") from error


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
