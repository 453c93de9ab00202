"""The forms that people keep class names in: lines, tables, JSON, YAML, Python, pbtxt."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_tsm.errors import InputError
from edge_tsm.system.tables import (
    DELIMITERS,
    Lines,
    Row,
    clip,
    count,
    split_rows,
    tables,
    tidy,
    uneven,
    unquote,
    whole,
    word,
)

_INDEX_WORDS = frozenset(
    (
        *("", "id", "index", "idx", "no", "nr", "n", "num", "number", "key", "value", "target"),
        *("class_id", "class_index", "class_idx", "class_no", "category_id", "action_id"),
        *("label_id", "labelid", "label_index", "label_idx", "label_no", "unnamed:_0"),
    )
)
# In order of preference where a header has several of them.
_NAME_WORDS = (
    *("name", "names", "class_name", "classname", "label_name", "labelname", "action_name"),
    *("category_name", "display_name", "displayname", "label", "labels", "class", "classes"),
    *("category", "categories", "action", "verb", "title", "text", "word"),
)
_HEADER_ALONE = frozenset(_NAME_WORDS) - {"action", "verb", "title", "text", "word"}
_LISTS = ("names", "classes", "class_names", "classnames", "labels", "categories", "label_map")
_PREFIX = re.compile(r"^[(\[#]?\s*(\d{1,6})(?:\s*[\]).:=>-]+\s*|\s+)(\S.*)$")
_SUFFIX = re.compile(r"^(.*?\S)(?:\s*[:=>(\[-]+\s*|\s+)(\d{1,6})[)\]]?$")
_ITEM = re.compile(r"\s*item\s*\{([^{}]*)\}\s*,?")
_FIELD = re.compile(r"(\w+)\s*:\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|-?\d+)[\s,]*")
MOST_CHARS = 1 << 22  # of what is no table; a label file has a few thousand


@dataclass(frozen=True)
class Entry:
    """A class name, where it stands, and the index beside it, if any."""

    name: str
    place: str
    index: int | None = None


@dataclass(frozen=True)
class Names:
    """Class names in order, and how they were read; `first` is the index of the first, if given."""

    entries: tuple[Entry, ...]
    form: str
    columns: Mapping[str, str]
    first: int | None = None
    notes: tuple[str, ...] = ()


def parse(lines: Lines) -> Names:
    """Return the class names that a file holds, whatever its form.

    Raises:
        InputError: several ways to read it that differ, or no way.
    """
    content, suffix = lines.content.strip(), lines.path.suffix.lower()
    if not lines:
        raise InputError(f"labels {lines.path}: the file is empty")
    found = None
    if len(content) <= MOST_CHARS:
        if suffix == ".json" or content[0] in "{[":
            found = _data(content, lines, must=suffix == ".json")
        elif suffix in (".yaml", ".yml") or re.match(
            rf"({'|'.join(_LISTS)})\s*:\s*$", content, re.M
        ):
            found = _from_data(_yaml(content, lines), lines, "YAML")
        elif re.match(r"item\s*\{", content):
            found = _pbtxt(content, lines)
        elif suffix == ".py" or re.match(r"\w+\s*=\s*[\[({]|\(\s*[\"']", content):
            found = _data(content, lines, must=suffix == ".py")
    return found or _from_lines(lines)


# --- lines and tables --------------------------------------------------------------------------


def _from_lines(lines: Lines) -> Names:
    found = [_from_table(rows, lines, form) for form, rows in tables(lines.lines)]
    tabled = [names for names in found if names is not None]
    if tabled:
        return _agreed(tabled, lines)
    _refuse_uneven(lines)
    numbered = [n for n in map(lambda way: _numbered(lines, *way), _WAYS) if n is not None]
    return _agreed(numbered, lines) if numbered else _one_per_line(lines)


def _agreed(readings: Sequence[Names], lines: Lines) -> Names:
    """Return the first of several readings of a file if they all give the same names."""
    for other in readings[1:]:
        if [e.name for e in other.entries] != [e.name for e in readings[0].entries]:
            ways = " or ".join(_way(names) for names in (readings[0], other))
            raise InputError(
                f"labels {lines.path}: {clip(lines.lines[0].text)} can be read as {ways}; write "
                "one name per line, in order"
            )
    return readings[0]


def _way(names: Names) -> str:
    first = names.entries[0]
    return f"class {first.index} called {clip(first.name)}"


def _from_table(rows: Sequence[Row], lines: Lines, form: str) -> Names | None:
    """Return the names of a table with a column that counts them, or a header that names one.

    Raises:
        InputError: it is a table, but which column is what cannot be told.
    """
    for header, body in (((), rows), (rows[0].cells, rows[1:])):
        counting = [j for j, column in enumerate(_columns(body)) if _counts(map(whole, column))]
        if counting and not (header and any(whole(header[j]) is not None for j in counting)):
            return _agreed([_by_index(header, body, j, lines, form) for j in counting], lines)
    header, body = rows[0].cells, rows[1:]
    words = [word(cell) for cell in header]
    named = [words.index(name) for name in _NAME_WORDS if name in words]
    indices = [j for j, name in enumerate(words) if name in _INDEX_WORDS and j not in named[:1]]
    if ((named or indices) and any(_whole_column(body, j) for j in indices)) or _gapped(rows):
        raise InputError(f"labels {lines.path}: the indices do not count from 0 or 1 without gaps")
    if named and body:
        entries = [Entry(row.cells[named[0]], lines.place(row.number)) for row in body]
        return Names(tuple(entries), form, {header[named[0]]: entries[0].name})
    if len(rows) > 1 or len(rows[0].cells) > 2:
        raise InputError(
            f"labels {lines.path}: every line has {len(rows[0].cells)} cells ({form}), as "
            f"{clip(lines.lines[0].text)}, and none counts the classes; write one name per line, "
            "with quotes where it holds a delimiter"
        )
    return None


def _columns(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return list(zip(*(row.cells for row in rows), strict=True))


def _whole_column(rows: Sequence[Row], column: int) -> bool:
    return bool(rows) and all(whole(row.cells[column]) is not None for row in rows)


def _gapped(rows: Sequence[Row]) -> bool:
    """Return whether one of the columns without a header has distinct numbers beside names."""
    return len(rows) > 1 and any(
        _whole_column(rows, j) and len({row.cells[j] for row in rows}) == len(rows)
        for j in range(len(rows[0].cells))
    )


def _by_index(
    header: Sequence[str], body: Sequence[Row], index: int, lines: Lines, form: str
) -> Names:
    """Return the names of a table in the order of column `index`."""
    name = _name_column(header, body, index, lines)
    entries = [
        Entry(row.cells[name], lines.place(row.number), whole(row.cells[index])) for row in body
    ]
    first = body[0].cells
    titles = (header[index] or "index", header[name]) if header else ("index", "name")
    return _sorted(entries, lines, form, {titles[0]: first[index], titles[1]: first[name]})


def _name_column(header: Sequence[str], body: Sequence[Row], index: int, lines: Lines) -> int:
    """Return the column of names beside the one of indices: by header, else the only one."""
    columns = _columns(body)
    others = [j for j in range(len(columns)) if j != index]
    words = {word(header[j]): j for j in others} if header else {}
    if index_named := header and word(header[index]) in ("label", "class", "category", "action"):
        words = {w: j for w, j in words.items() if w not in _INDEX_WORDS} or words
    for name in _NAME_WORDS if header else ():
        if name in words and (index_named or not _counts(map(whole, columns[words[name]]))):
            return words[name]
    texts = [j for j in others if not all(whole(cell) is not None for cell in columns[j])]
    distinct = [j for j in texts or others if len(set(columns[j])) == len(body)]
    if len(distinct) == 1 or (len(others) == 1 and not distinct):
        return (distinct or others)[0]
    shown = " or ".join(clip(body[0].cells[j]) for j in (distinct or texts or others)[:3])
    raise InputError(
        f"labels {lines.path}: class {body[0].cells[index]} may be called {shown}; keep the column "
        "of names only, or give a header with `name`"
    )


def _refuse_uneven(lines: Lines) -> None:
    """Refuse what is a table but for some lines: that line would become a name, or lose a part."""
    for delimiter, form in DELIMITERS.items():
        pair = uneven(lines.lines, delimiter)
        if pair is None:
            continue
        first, other = pair
        rows = split_rows(lines.lines, delimiter) or []
        words = {word(cell) for cell in first.cells}
        titled = len(first.cells) > 1 and words & _INDEX_WORDS and words & set(_NAME_WORDS)
        counted = all(len(r.cells) > 1 and whole(r.cells[0]) is not None for r in rows)
        cells = count(len(other.cells), "cell")
        if titled or counted:
            raise InputError(
                f"{lines.place(other.number)} has {cells}, line {first.number} "
                f"has {len(first.cells)} ({clip(lines.lines[0].text)}, {form}); a name with a "
                "delimiter needs quotes around it"
            )


def _counts(numbers: Iterable[int | None]) -> bool:
    """Return whether these are 0, 1, 2, … or 1, 2, 3, … in any order."""
    given = list(numbers)
    found = sorted(n for n in given if n is not None)
    return len(found) == len(given) > 0 and found in (
        list(range(len(found))),
        list(range(1, len(found) + 1)),
    )


def _numbered(lines: Lines, form: re.Pattern[str], index: int, name: int) -> Names | None:
    """Return names of lines that all carry a number, None if these do not count.

    Only a complete count is numbering; "3 cups" among other names is a name.

    Raises:
        InputError: so many carry their own place's number that one without it is a mistake.
    """
    found = [form.match(line.text) for line in lines.lines]
    entries = [
        Entry(unquote(tidy(m[name])), lines.place(line.number), int(m[index]))
        for line, m in zip(lines.lines, found, strict=True)
        if m
    ]
    if len(entries) == len(found) and _counts([e.index for e in entries]):
        distinct = len({e.name for e in entries}) == len(entries)
        shown = {"index": str(entries[0].index), "name": entries[0].name}
        return _sorted(entries, lines, "numbered lines", shown) if distinct or index == 1 else None
    _refuse_gap(lines, entries)
    return None


_WAYS = ((_PREFIX, 1, 2), (_SUFFIX, 2, 1))


def _refuse_gap(lines: Lines, entries: Sequence[Entry]) -> None:
    """Refuse numbers that nearly count: one of them, or one line without, is a mistake."""
    numbers = {entry.place: entry.index for entry in entries}
    given = [numbers.get(lines.place(line.number)) for line in lines.lines]
    for first in (0, 1):
        placed = [number == place for place, number in enumerate(given, first)]
        if sum(placed) >= max(2, len(placed) / 2) and not all(placed):
            line = lines.lines[placed.index(False)]
            raise InputError(
                f"{lines.place(line.number)}: {clip(line.text)} should have the number "
                f"{placed.index(False) + first}; number all names without gaps, or none"
            )
    found = [number for number in given if number is not None]
    names = {entry.name for entry in entries}
    if len(given) == len(set(found)) == len(names) > 1 and min(found) in (0, 1):
        raise InputError(
            f"labels {lines.path}: the indices do not count from {min(found)} without gaps; if the "
            f"numbers belong to the names ({clip(lines.lines[0].text)}), put quotes around them"
        )


def _sorted(entries: Sequence[Entry], lines: Lines, form: str, columns: Mapping[str, str]) -> Names:
    """Return entries by their indices, which count from 0 or 1."""
    first = min((e.index for e in entries if e.index is not None), default=0)
    if not _counts([e.index for e in entries]):
        raise InputError(f"labels {lines.path}: the indices do not count from 0 or 1 without gaps")
    notes = ("numbered from 1",) if first else ()
    ordered = sorted(entries, key=lambda entry: entry.index or 0)
    return Names(tuple(ordered), form, columns, first, notes)


def _one_per_line(lines: Lines) -> Names:
    rows = [
        Entry(unquote(tidy(re.sub(r"[,;|]\s*$", "", line.text))), lines.place(line.number))
        for line in lines.lines
    ]
    gap = next((n for n in lines.blank if lines.lines[0].number < n), None)
    if gap is not None:
        raise InputError(f"labels {lines.path}: line {gap} is blank")
    if len(rows) == 1 and (form := re.search(r"[,;|\t]\s*\S", lines.lines[0].text)):
        raise InputError(
            f"labels {lines.path}: one line with {form[0][0]!r} in it; write one name per line"
        )
    headed = len(rows) > 1 and word(rows[0].name) in _HEADER_ALONE
    notes = (f"header {clip(rows[0].name)} skipped",) if headed else ()
    return Names(
        tuple(rows[headed:]), "one name per line", {"class 0": rows[headed].name}, None, notes
    )


# --- data --------------------------------------------------------------------------------------


def _data(content: str, lines: Lines, *, must: bool) -> Names | None:
    """Return the names in JSON or a Python literal; None if it is neither and need not be."""
    broken = list[BaseException]()
    for form, load in (("JSON", _json), ("Python", _literal)):
        try:
            data = load(content)
        except InputError as error:
            raise InputError(f"labels {lines.path}: {error}") from None
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            broken.append(error)
        else:
            return _from_data(data, lines, form)
    if must or content[-1] in "}]":
        kind = "JSON" if lines.path.suffix == ".json" else "a Python list or dict, nor JSON"
        raise InputError(f"labels {lines.path}: not {kind} ({broken[lines.path.suffix == '.py']})")
    return None


def _json(content: str) -> Any:
    return json.loads(content, object_pairs_hook=_once)


def _literal(content: str) -> Any:
    """Return the value of `[…]` or `NAME = […]`; nothing is run."""
    (statement,) = ast.parse(content).body
    value = getattr(statement, "value", None)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)) or value is None:
        raise SyntaxError("no list or dict")
    return ast.literal_eval(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"duplicate key {clip(twice)}")
    return found


def _yaml(content: str, lines: Lines) -> Any:
    """Return YAML with every value as text: `no: 0` and `on` are names, not booleans."""
    try:
        import yaml
    except ImportError as error:
        raise InputError(
            f"labels {lines.path}: YAML needs pip install pyyaml; or write one name per line"
        ) from error
    try:
        return yaml.load(content, Loader=yaml.BaseLoader)  # it makes texts and nothing else
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"labels {lines.path}: not YAML ({reason})") from error


def _from_data(data: Any, lines: Lines, form: str) -> Names:
    """Return the names in lists and dictionaries, wherever files have them."""
    if isinstance(data, dict):
        if {"label2id", "id2label"} & set(data):
            return _both_ways(data, lines, form)
        for key in _LISTS:
            if isinstance(data.get(key), (list, tuple, dict)):
                return _from_data(data[key], lines, f"{form} {key}")
        entries = _from_mapping(data, lines)
    elif isinstance(data, (list, tuple)) and all(isinstance(row, dict) for row in data) and data:
        entries = _from_records(data, lines)
    elif isinstance(data, (list, tuple)) and all(isinstance(name, str) for name in data):
        names = [Entry(tidy(name), f"{lines.path} entry {i}") for i, name in enumerate(data)]
        return Names(tuple(names), f"{form} list", {"class 0": names[0].name if names else ""})
    else:
        entries = None
    if entries is None:
        raise InputError(
            f"labels {lines.path}: expected a list, {{name: index}} or {{index: name}}"
        )
    shown = {"index": str(entries[0].index), "name": entries[0].name} if entries else {}
    return _sorted(entries, lines, form, shown)


def _from_mapping(data: Mapping[Any, Any], lines: Lines) -> list[Entry] | None:
    """Return the entries of {index: name} or {name: index}; None if it is neither."""
    keys, values = map(_index, data), map(_index, data.values())
    by_value, by_key = (None not in list(side) for side in (values, keys))
    if by_value and by_key and data:
        raise InputError(f"labels {lines.path}: numbers on both sides; which are the names?")
    if not (by_value or by_key) or not all(
        isinstance(name, str) for name in (data if by_value else data.values())
    ):
        return None
    return [
        Entry(
            tidy(str(key if by_value else value)),
            f"{lines.path} {key!r}",
            _index(value if by_value else key),
        )
        for key, value in data.items()
    ]


def _from_records(data: Sequence[Mapping[Any, Any]], lines: Lines) -> list[Entry] | None:
    """Return the entries of [{id, name}, …]; None without these keys in all."""
    keys = {word(str(key)): key for key in data[0]}
    index = next(
        (keys[w] for w in keys if w in _INDEX_WORDS and _index(data[0][keys[w]]) is not None), None
    )
    name = next((keys[w] for w in _NAME_WORDS if w in keys and keys[w] != index), None)
    if name is None or not all(isinstance(row.get(name), str) for row in data):
        return None
    return [
        Entry(
            tidy(row[name]),
            f"{lines.path} entry {i}",
            i if index is None else _index(row.get(index)),
        )
        for i, row in enumerate(data)
    ]


def _both_ways(data: Mapping[str, Any], lines: Lines, form: str) -> Names:
    """Return the names of a configuration that has label2id, id2label or both, which must agree."""
    found = []
    for key in ("id2label", "label2id"):
        if isinstance(data.get(key), dict):
            found.append(_from_data(data[key], lines, f"{form} {key}"))
    if not found:
        raise InputError(f"labels {lines.path}: label2id and id2label hold no names")
    return _agreed(found, lines)


def _index(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return whole(value) if isinstance(value, str) else value if isinstance(value, int) else None


def _pbtxt(content: str, lines: Lines) -> Names:
    """Return the names of TensorFlow's `item { name: "x" id: 1 }`."""
    text = re.sub(r"(?m)^\s*#.*$", "", content)
    if _ITEM.sub("", text).strip():
        raise InputError(f"labels {lines.path}: not only `item {{ name: … id: … }}`")
    entries = []
    for number, item in enumerate(_ITEM.findall(text), 1):
        fields = {key: unquote(value) for key, value in _FIELD.findall(item)}
        name, index = fields.get("display_name", fields.get("name")), fields.get("id", "")
        if name is None or whole(index) is None or _FIELD.sub("", item).strip():
            raise InputError(f"labels {lines.path}: item {number} has no name and id")
        entries.append(Entry(tidy(name), f"{lines.path} item {number}", whole(index)))
    return _sorted(entries, lines, "pbtxt", {"id": str(entries[0].index), "name": entries[0].name})
