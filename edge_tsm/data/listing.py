"""Lists of clips in whatever dialect: which column is the path, the frame count, the class.

Every way to read a list that fits all its lines is a candidate. Which paths exist, and how many
frames the clips really have, decide between them; what stays open is refused with both readings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from edge_tsm.data.finder import Finder
from edge_tsm.errors import InputError
from edge_tsm.sources import VIDEO_SUFFIXES
from edge_tsm.system.tables import (
    Line,
    Lines,
    Reading,
    Row,
    clip,
    count,
    tables,
    tidy,
    unquote,
    whole,
    word,
)

Roles = tuple[str, ...]
CountFrames = Callable[[Path], int]
IGNORED = "-"
_WORDS = {
    "path": "path file filename file_name filepath file_path video video_path video_name videoname "
    "clip clip_path clip_name image_path frame_dir folder directory dir frame_folder image_dir",
    "frames": "frames nframes n_frames num_frames numframes frame_count frames_count total_frames "
    "framecount length num_frame nb_frames",
    "class": "class label class_id label_id class_index label_index class_idx label_idx category "
    "target y action class_name classname label_name activity gt ground_truth labels classes "
    "class_ids label_ids targets actions tags",
    IGNORED: "index idx no nr split subset duration fps width height size unnamed:_0 template",
}
_ROLES = {name: role for role, names in _WORDS.items() for name in names.split()} | {"": IGNORED}
_VIDEO_END = rf"(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES, reverse=True)))})"
_PATH_NAME = re.compile(rf"^(.+?{_VIDEO_END})\s+(.*)$", re.IGNORECASE)
_PATH_LIKE = re.compile(rf"[/\\]|{_VIDEO_END}$", re.IGNORECASE)
_QUOTED = re.compile(r"""^(["'])(.+?)\1\s+(.+)$""")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_USUAL: dict[int, Roles] = {2: ("path", "class"), 3: ("path", "frames", "class")}
_PROBED = 32  # clips whose existence and frame counts decide between readings
_FEWEST_FRAMES = 5  # of a clip whose frames cannot be counted


@dataclass(frozen=True)
class ListRow:
    """A line of a list: the path as written, the frame count if given, class index or name."""

    path: str
    frames: int | None
    label: int | str
    number: int


@dataclass(frozen=True)
class ClipList:
    """The rows of a list, and how it was read."""

    rows: tuple[ListRow, ...]
    reading: Reading


@dataclass(frozen=True)
class _Candidate:
    """A way to read a list: how lines are cut, and what each cell is."""

    form: str
    roles: Roles
    rows: Sequence[Row]

    def column(self, role: str) -> list[str]:
        place = self.roles.index(role)
        return [row.cells[place] for row in self.rows]

    def parts(self) -> dict[str, str]:
        """Return the first row by its roles."""
        cells = zip(self.roles, self.rows[0].cells, strict=True)
        return {role: cell for role, cell in cells if role != IGNORED}


def parse_columns(text: str) -> Roles:
    """Return the roles of columns as `path,frames,class`; `-` is a column to leave out.

    Raises:
        InputError: an unknown role, or not one path and one class.

    >>> parse_columns("path,-,class")
    ('path', '-', 'class')
    """
    roles = tuple(part.strip() for part in text.split(","))
    counts = {role: roles.count(role) for role in ("path", "class", "frames")}
    if not set(roles) <= {*counts, IGNORED} or (counts["path"], counts["class"]) != (1, 1):
        raise InputError(
            f"columns {text}: name each in order as path, frames, class or - (to leave it out), "
            "with one path and one class: path,frames,class"
        )
    if counts["frames"] > 1:
        raise InputError(f"columns {text}: frames is named twice")
    return roles


def read_list(
    lines: Lines, finder: Finder, frames_of: CountFrames, *, columns: Roles | None = None
) -> ClipList:
    """Return the rows of a list.

    Args:
        lines: its lines.
        finder: tells which paths exist, which decides between readings.
        frames_of: counts the frames of a clip that exists, which decides too.
        columns: the roles of the columns, where the user names them.

    Raises:
        InputError: no way to read it, several that differ, or a class that is none.
    """
    if not lines:
        raise InputError(f"{lines.path}: holds no clips")
    found = [c for c in _candidates(lines, columns) if not _mixed(c, lines, finder)]
    if not found:
        _refuse(lines, columns)
    chosen = found[0] if len(found) == 1 else _decide(found, lines, finder, frames_of)
    rows = tuple(_rows(chosen, lines))
    return ClipList(rows, lines.reading(chosen.form, chosen.parts()))


# --- candidates --------------------------------------------------------------------------------


def _candidates(lines: Lines, columns: Roles | None) -> Iterator[_Candidate]:
    for form, rows in (*tables(lines.lines), *_spaced(lines)):
        titled = is_titled(rows)
        body = rows[1:] if titled else rows
        if columns is not None:
            if len(columns) == len(rows[0].cells):
                yield _Candidate(form, columns, body)
        elif titled:
            roles = _by_header(rows[0])
            if {"path", "class"} <= set(roles):
                yield _Candidate(f"{form} with header", roles, body)
        else:
            for roles in _by_content(rows):
                yield _Candidate(form, roles, rows)


def with_roles(rows: Sequence[Row], columns: Roles | None) -> tuple[Roles, Sequence[Row]] | None:
    """Return the roles of a table's columns and its rows without the header, None where unclear.

    By the header, else by `columns`, else path and class, or path, frames and class.
    """
    titled = is_titled(rows)
    roles = columns or (_by_header(rows[0]) if titled else _USUAL.get(len(rows[0].cells), ()))
    fits = len(roles) == len(rows[0].cells) and {"path", "class"} <= set(roles)
    return (roles, rows[1:] if titled else rows) if fits else None


def _spaced(lines: Lines) -> Iterator[tuple[str, list[Row]]]:
    """Yield the ways to cut all lines at spaces: a path, then two numbers, one, or a name."""
    for cut in (_two_numbers, _one_number, _a_name):
        rows = [row for line in lines.lines if (row := cut(line)) is not None]
        if len(rows) == len(lines):
            yield "spaces", rows


def _mixed(candidate: _Candidate, lines: Lines, finder: Finder) -> bool:
    """Return whether some lines have a second number, which is no part of a path that exists."""
    if candidate.form != "spaces" or len(candidate.roles) != 2:
        return False
    longer = [line.number for line in lines.lines if _two_numbers(line)]
    rows = zip(candidate.column("path"), candidate.rows, strict=True)
    return 0 < len(longer) < len(lines) and not all(
        finder(path).exists() for path, row in rows if row.number in longer
    )


def _two_numbers(line: Line) -> Row | None:
    return _from_right(line, 2)


def _one_number(line: Line) -> Row | None:
    return _from_right(line, 1)


def _from_right(line: Line, numbers: int) -> Row | None:
    """Cut off numbers at the end; what is left is a path, which may hold spaces."""
    quoted = _QUOTED.match(line.text)
    cells = quoted[3].split() if quoted else line.text.rsplit(maxsplit=numbers)
    cells = [quoted[2], *cells] if quoted else cells
    if len(cells) != numbers + 1 or not all(map(_NUMBER.fullmatch, cells[1:])):
        return None
    return Row((unquote(tidy(cells[0])), *cells[1:]), line.number)


def _a_name(line: Line) -> Row | None:
    """Cut off a class name, which may hold spaces after a quoted path or a video's suffix."""
    found = _QUOTED.match(line.text)
    video = _PATH_NAME.match(line.text)
    words = line.text.split()
    if found or video:
        cells = found.group(2, 3) if found else video.group(1, 2) if video else ()
    else:
        cells = tuple(words) if len(words) == 2 else ("", "")
    path, name = tidy(cells[0]), unquote(tidy(cells[1]))
    # `1 0`, `1,0` or `1 # note` are no names, though one may begin with a number: quote it.
    bare = cells[1] == name and re.match(r"[+-]?\d", name)
    if not name or bare or _NUMBER.fullmatch(name.split()[-1]) or _PATH_LIKE.search(name):
        return None
    return Row((path, name), line.number)


def is_titled(rows: Sequence[Row]) -> bool:
    """Return whether the first row is a header: two of its cells at least are known titles."""
    words = [word(cell) for cell in rows[0].cells]
    known = sum(name in _ROLES or name == "id" for name in words)
    return len(rows) > 1 and known >= 2 and not any(map(_NUMBER.fullmatch, rows[0].cells))


def _by_header(row: Row) -> Roles:
    """Return the roles that a header gives; of two columns of one role the first counts."""
    names = [word(cell) for cell in row.cells]
    roles = [_ROLES.get(name, IGNORED) for name in names]
    if "path" not in roles and "id" in names:
        roles[names.index("id")] = "path"
    return tuple(
        role if roles.index(role) == place else IGNORED for place, role in enumerate(roles)
    )


def _by_content(rows: Sequence[Row]) -> Iterator[Roles]:
    """Yield the roles that cells of two or three columns may have, the likeliest first."""
    columns = list(zip(*(row.cells for row in rows), strict=True))
    numeric = [all(map(_NUMBER.fullmatch, cells)) for cells in columns]
    paths = [_mostly_paths(cells) for cells in columns]
    for roles in permutations(_USUAL[len(columns)]) if len(columns) in _USUAL else ():
        path, label = roles.index("path"), roles.index("class")
        fits = "frames" not in roles or numeric[roles.index("frames")]
        if fits and (paths[path] or not any(paths)) and not paths[label]:
            yield roles
            if len(roles) == 3 and not numeric[label]:  # the number may be the class's own
                yield tuple(IGNORED if role == "frames" else role for role in roles)


def _mostly_paths(cells: Iterable[str]) -> bool:
    found = [bool(_PATH_LIKE.search(cell)) for cell in cells]
    return sum(found) > len(found) / 2


# --- decision ----------------------------------------------------------------------------------


def _decide(
    found: Sequence[_Candidate], lines: Lines, finder: Finder, frames_of: CountFrames
) -> _Candidate:
    """Return the reading that files confirm, or the usual one where there are no files."""
    existing = [_existing(candidate, finder) for candidate in found]
    most = max(map(len, existing))
    left = [c for c, paths in zip(found, existing, strict=True) if len(paths) == most]
    if most == 0:  # no file to ask; the usual order, unless its counts cannot be any
        left = [c for c in left if _plausible(c)][:1] or left
        return left[0] if not _open(left) else _refuse_both(left, lines, finder, frames_of)
    confirmed = [c for c in left if _frames_agree(c, finder, frames_of)]
    possible = [c for c in confirmed if _fewest_frames(c) > 0]
    left = possible or confirmed or [c for c in left if _plausible(c)] or left
    return left[0] if not _open(left) else _refuse_both(left, lines, finder, frames_of)


def _open(left: Sequence[_Candidate]) -> bool:
    """Return whether readings differ in what they make of any line."""
    first = left[0]
    return any(c.column(r) != first.column(r) for c in left[1:] for r in ("path", "class"))


def _existing(candidate: _Candidate, finder: Finder) -> list[Path]:
    found = (finder(path) for path in candidate.column("path")[:_PROBED])
    return [path for path in found if path.exists()]


def _plausible(candidate: _Candidate) -> bool:
    """Return whether its frame counts, if it has any, could be some."""
    return "frames" not in candidate.roles or _fewest_frames(candidate) >= _FEWEST_FRAMES


def _fewest_frames(candidate: _Candidate) -> int:
    return min(whole(cell) or 0 for cell in candidate.column("frames"))


def _frames_agree(candidate: _Candidate, finder: Finder, frames_of: CountFrames) -> bool:
    """Return whether most clips have about as many frames as the list says."""
    if "frames" not in candidate.roles:
        return False
    agree, counted = 0, 0
    for path, cell in list(zip(candidate.column("path"), candidate.column("frames"), strict=True))[
        :_PROBED
    ]:
        real = frames_of(finder(path)) if finder(path).exists() else 0
        counted += real > 0
        agree += real > 0 and abs((whole(cell) or 0) - real) <= max(3, real / 10)
    return 2 * agree > counted


def _refuse_both(
    left: Sequence[_Candidate], lines: Lines, finder: Finder, frames_of: CountFrames
) -> _Candidate:
    ways = " or as ".join(
        ", ".join(f"{role} {clip(cell)}" for role, cell in candidate.parts().items())
        for candidate in left[:2]
    )
    path = finder(left[0].column("path")[0])
    real = frames_of(path) if path.exists() else 0
    known = f" (it has {count(real, 'frame')})" if real else ""
    first = left[0].rows[0].number
    raise InputError(
        f"{lines.place(first)}: {clip(_line(lines, first))} can be read as {ways}{known}; say "
        f"which with --columns {','.join(left[0].roles)} or --columns {','.join(left[1].roles)}"
    )


def _line(lines: Lines, number: int) -> str:
    return next(line.text for line in lines.lines if line.number == number)


# --- rows --------------------------------------------------------------------------------------


def _rows(chosen: _Candidate, lines: Lines) -> Iterator[ListRow]:
    labels = chosen.column("class")
    numeric = [bool(_NUMBER.fullmatch(label)) for label in labels]
    if any(numeric) and not all(numeric):
        few = sum(numeric) > len(numeric) / 2
        odd = chosen.rows[numeric.index(not few)].number
        raise InputError(
            f"{lines.place(odd)}: {clip(_line(lines, odd))} gives its class by "
            f"{'name' if few else 'number'}, most lines do not"
        )
    frames = chosen.column("frames") if "frames" in chosen.roles else [""] * len(labels)
    cells = zip(chosen.column("path"), frames, labels, chosen.rows, strict=True)
    for path, length, label, row in cells:
        place = f"{lines.place(row.number)}: {clip(_line(lines, row.number))}"
        if not path or not label:
            raise InputError(f"{place} has no {'path' if not path else 'class'}")
        yield ListRow(
            path,
            _frames(length, place),
            _index(label, place) if numeric[0] else tidy(label),
            row.number,
        )


def _index(cell: str, place: str) -> int:
    index = whole(cell)
    if index is None:
        raise InputError(f"{place}: class {cell} is no whole number")
    if index < 0:
        raise InputError(
            f"{place}: class {index} is below 0; leave clips without a class out of the list"
        )
    return index


def _frames(cell: str, place: str) -> int | None:
    if not cell:
        return None
    frames = whole(cell)
    if frames is None or frames < 0:
        raise InputError(f"{place}: {cell} frames are no count")
    return frames


# --- refusals ----------------------------------------------------------------------------------


def _refuse(lines: Lines, columns: Roles | None) -> None:
    """Say why no reading fits all lines.

    Raises:
        InputError: always.
    """
    if columns is not None:
        raise InputError(
            f"{lines.path}: no delimiter cuts every line into {count(len(columns), 'column')} "
            f"(--columns {','.join(columns)}); line {lines.lines[0].number} is "
            f"{clip(lines.lines[0].text)}"
        )
    for form, rows in tables(lines.lines):
        raise InputError(
            f"{lines.path}: {count(len(rows[0].cells), 'column')} ({form}), as "
            f"{clip(lines.lines[0].text)}, and no header that names a path and a class; say what "
            "they are with --columns, as path,-,class"
        )
    ends = [_numbers_at_end(line) for line in lines.lines]
    usual = max(set(ends), key=ends.count)
    if set(ends) == {0}:
        raise InputError(
            f"{lines.place(lines.lines[0].number)}: {clip(lines.lines[0].text)} is neither `path "
            "class` nor `path frames class`: no class; add it, or pass the folder that holds the "
            "class folders instead of a list"
        )
    odd = next((n for n, end in enumerate(ends) if end != (usual if usual else ends[0])), 0)
    other = next(n for n, end in enumerate(ends) if end != ends[odd])
    raise InputError(
        f"{lines.place(lines.lines[odd].number)}: {clip(lines.lines[odd].text)} has "
        f"{count(ends[odd], 'number')} after its path, line {lines.lines[other].number} has "
        f"{ends[other]}; every line needs the same columns, `path class` or `path frames class` "
        "(one class a clip)"
    )


def _numbers_at_end(line: Line) -> int:
    words = line.text.split()
    tail = [bool(_NUMBER.fullmatch(part)) for part in words[1:][::-1]]
    return tail.index(False) if False in tail else len(tail)
