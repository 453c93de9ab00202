"""Tables as text: any delimiter, quotes, comments and line ends, and how each was read."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_tsm.system.text import read_text

DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma"}
_NO_GLYPH = "\u200b\u2060\ufeff"
# What is dropped around a line: every kind of space but the tab, which may end an empty cell.
_EDGES = " \xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))) + _NO_GLYPH
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"))
MOST_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Line:
    """One line that is neither blank nor a comment, and its number in the file, from 1."""

    text: str
    number: int


@dataclass(frozen=True)
class Row:
    """The cells of one line."""

    cells: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class Reading:
    """How a file was read, to show: what it is of, and what its parts were taken for.

    `columns` are (role, the first row's cell); `notes` say what was left out or looks odd.
    """

    file: str
    encoding: str = "UTF-8"
    form: str = "one per line"
    columns: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line: encoding, form, the first row by its columns, notes.

        >>> str(Reading("val.txt", "UTF-8", "tab", (("path", "a b.mp4"), ("class", "1"))))
        "val.txt: UTF-8, tab; path 'a b.mp4', class '1'"
        """
        first = ", ".join(f"{role} {clip(cell)}" for role, cell in self.columns)
        parts = [f"{self.encoding}, {self.form}", *filter(None, [first]), *self.notes]
        return f"{self.file}: {'; '.join(parts)}"


@dataclass(frozen=True)
class Lines:
    """The lines of a text file; `comments` and `blank` ones are left out, and counted.

    `content` is the whole text, for what is no table.
    """

    path: Path
    content: str
    encoding: str
    lines: tuple[Line, ...]
    comments: int = 0
    blank: tuple[int, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.lines)

    def reading(self, form: str, columns: Mapping[str, str], *notes: str) -> Reading:
        """Return how the file was read: `form`, and the first row by its columns."""
        skipped = [f"{count(self.comments, 'comment')} skipped"] if self.comments else []
        return Reading(
            self.path.name, self.encoding, form, tuple(columns.items()), (*skipped, *notes)
        )

    def place(self, number: int) -> str:
        """Return how a message names a line."""
        return f"{self.path} line {number}"


def read_lines(path: Path) -> Lines:
    r"""Read the lines of a text file in any encoding, without blank lines and `#` comments.

    Raises:
        InputError: see `read_text`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "val.txt"
    ...     _ = path.write_bytes(b"\xef\xbb\xbf# mine\r\na.mp4,1\r\n\r\nb.mp4,0\r\n")
    ...     lines = read_lines(path)
    >>> [line.text for line in lines.lines], lines.comments, lines.blank
    (['a.mp4,1', 'b.mp4,0'], 1, (3,))
    """
    text = read_text(path)
    every = re.split(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", text.content)
    while every and not tidy(every[-1]):
        every.pop()
    kept, blank, comments = list[Line](), list[int](), 0
    for number, line in enumerate(every, 1):
        if not tidy(line):
            blank.append(number)
        elif _is_comment(line):
            comments += 1
        else:
            kept.append(Line(line.strip(_EDGES), number))
    return Lines(path, text.content, text.encoding, tuple(kept), comments, tuple(blank))


def _is_comment(line: str) -> bool:
    """A line that starts with `#`, but not `#1 name`; or Excel's `sep=;`."""
    return bool(re.match(r"\s*#(?!\s*\d+\b)|sep=.\s*$", line))


def tidy(text: str) -> str:
    r"""Return a cell without the space around it; spaces of any kind become plain ones.

    >>> tidy("no\u00a0fight\u200b ")
    'no fight'
    """
    return re.sub(r"\s", " ", re.sub(f"[{_NO_GLYPH}]", "", text)).strip()


def unquote(text: str) -> str:
    """Return a cell without the quotes around it.

    >>> unquote('"no ""real"" fight"'), unquote("it's")
    ('no "real" fight', "it's")
    """
    for start, end in _QUOTES:
        inner = text[1:-1]
        if len(text) > 1 and text.startswith(start) and text.endswith(end):
            if start == end and start in inner.replace(start * 2, ""):
                continue
            return tidy(inner.replace(start * 2, start) if start == end else inner)
    return text


def split_rows(lines: Iterable[Line], delimiter: str) -> list[Row] | None:
    """Return the cells of lines, without empty ones at the ends of all; None if quotes do not pair.

    Raises:
        InputError: never for a file's content; see `table`.
    """
    rows = []
    for line in lines:
        try:
            cells = next(
                csv.reader([line.text], delimiter=delimiter, skipinitialspace=True, strict=True)
            )
        except (csv.Error, StopIteration):
            return None
        rows.append(Row(tuple(unquote(tidy(cell)) for cell in cells), line.number))
    width = max((_filled(row.cells) for row in rows), default=0)
    return [Row(row.cells[:width], row.number) for row in rows]


def _filled(cells: Sequence[str]) -> int:
    """Return how many cells there are without the empty ones at the end."""
    return max((i for i, cell in enumerate(cells, 1) if cell), default=0)


def tables(lines: Sequence[Line]) -> Iterator[tuple[str, list[Row]]]:
    """Yield (delimiter's name, rows) for every delimiter that cuts all lines in equal numbers.

    Of at least two cells; one line is no evidence against another, so it may be cut by several.
    """
    for delimiter, name in DELIMITERS.items():
        rows = split_rows(lines, delimiter)
        if rows and len({len(row.cells) for row in rows}) == 1 and len(rows[0].cells) > 1:
            yield name, rows


def uneven(lines: Sequence[Line], delimiter: str) -> tuple[Row, Row] | None:
    """Return the first line and one that the delimiter cuts in another number of cells, if any."""
    rows = split_rows(lines, delimiter) or []
    other = next((row for row in rows if len(row.cells) != len(rows[0].cells)), None)
    return (rows[0], other) if other else None


def whole(text: str) -> int | None:
    """Return the whole number that a cell spells, `1.0` and `+1` too, else None.

    >>> whole("1.0"), whole("1.5"), whole("-1"), whole("one")
    (1, None, -1, None)
    """
    match = re.fullmatch(r"([+-]?[0-9]{1,15})(\.0*)?", text)
    return int(match[1]) if match else None


def word(text: str) -> str:
    """Return a header's cell as it is looked up: `Class Name` is class_name."""
    return re.sub(r"[\s\-.]+", "_", text.strip().casefold()).strip("_#")


def clip(text: str) -> str:
    """Return a cell as a message shows it: quoted, escaped, not too long."""
    return repr(text if len(text) <= MOST_SHOWN_CHARS else text[: MOST_SHOWN_CHARS - 1] + "…")


def count(number: int, noun: str) -> str:
    """Return `1 clip`, `2 clips`.

    >>> count(1, "class"), count(2, "class"), count(3, "clip")
    ('1 class', '2 classes', '3 clips')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def are(number: int) -> str:
    """Return the verb that goes with a count."""
    return "is" if number == 1 else "are"
