"""Text files in whatever encoding people have them, read right or refused; never guessed unseen."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import InputError

MOST_BYTES = 1 << 29  # Kinetics-700's own JSON has 150 MB
_BOMS = (  # UTF-32's little-endian mark starts with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]|[^\S\n\r\t ]*\ufffe")
_OTHER_FILES = (  # what a download leaves under the name of a list
    (re.compile(r"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE), "an HTML or XML page"),
    (re.compile(r"version https://git-lfs"), "a git-lfs pointer (`git lfs pull` gets the file)"),
)
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[^\W\d_]+")
FEW_CHARS = 8  # so many that chance no longer makes Chinese of Korean


@dataclass(frozen=True)
class Text:
    """The content of a text file and the encoding it was read by, as people call it."""

    content: str
    encoding: str


def read_text(path: Path) -> Text:
    r"""Read a text file: UTF-8, UTF-16 or UTF-32 with or without a mark, or an older encoding.

    An older encoding is taken only where it makes words of one script, as it does for Chinese in
    GB18030 or French in Windows-1252.

    Raises:
        InputError: missing, not text, or text that several encodings make sense of.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels.txt"
    ...     _ = path.write_bytes("挥手\n打架\n".encode("gb18030"))
    ...     read_text(path)
    Text(content='挥手\n打架\n', encoding='GB18030')
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size >> 20} MiB are too much for a list")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        found = decode(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for form, name in _OTHER_FILES:
        if form.match(found.content):
            raise InputError(f"{path}: this is {name}, not a list")
    return found


def decode(data: bytes) -> Text:
    """Return bytes as text; see `read_text`.

    Raises:
        InputError: not text, or text that several encodings make sense of.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return Text(_strict(data[len(mark) :], name), _shown(name))
    if b"\0" in data:
        return _wide(data)
    try:
        content = data.decode()
    except UnicodeDecodeError:
        return _legacy(data)
    return Text(_checked(content), "UTF-8")


def _strict(data: bytes, name: str) -> str:
    try:
        return _checked(data.decode(name))
    except UnicodeDecodeError as error:
        raise InputError(f"not text: marked as {_shown(name)}, but broken ({error})") from error


def _checked(content: str) -> str:
    content = content.rstrip("\x1a\0")  # DOS ended files so
    found = _NOT_TEXT.search(content)
    if found:
        raise InputError(
            f"not text: it holds {found[0]!r}; from a spreadsheet, save it as CSV in UTF-8"
        )
    return content


def _wide(data: bytes) -> Text:
    """Decode UTF-16 or UTF-32 without a mark: the only ones in which text has zero bytes."""
    readings = dict(_readings(data, ((name, _plain) for name in _WIDE)))
    if not readings:
        raise InputError("not text: it holds zero bytes; from a spreadsheet, save it as CSV")
    return _only(readings)


def _legacy(data: bytes) -> Text:
    readings = dict(_readings(data, _PLAUSIBLE.items()))
    if len(readings) > 1 and "gb18030" in readings:
        # By far the commonest of them. Few characters can make sense in several by chance, many
        # of real Chinese cannot.
        count = len(_NON_ASCII.findall(readings["gb18030"]))
        if count < FEW_CHARS:
            readings = {"gb18030": readings["gb18030"]}
    if not readings:
        raise InputError("neither UTF-8 nor an encoding known here; save it as UTF-8")
    return _only(readings)


def _readings(
    data: bytes, encodings: Iterable[tuple[str, Callable[[str], bool]]]
) -> Iterator[tuple[str, str]]:
    """Yield the encodings that make sense of `data`, with what they make of it."""
    for name, plausible in encodings:
        try:
            content = _checked(data.decode(name))
        except (UnicodeDecodeError, InputError):
            continue
        if plausible(content):
            yield name, content


def _only(readings: dict[str, str]) -> Text:
    if len(set(readings.values())) > 1:
        samples = " or ".join(f"{_shown(n)} ({_sample(text)})" for n, text in readings.items())
        raise InputError(f"its text may be {samples}; save it as UTF-8")
    name, content = next(iter(readings.items()))
    return Text(content, _shown(name))


def _sample(content: str) -> str:
    line = next((line for line in content.splitlines() if _NON_ASCII.search(line)), "")
    return repr(line.strip()[:16])


def _shown(name: str) -> str:
    """Return the name by which people know an encoding."""
    if name.startswith("cp"):
        return f"Windows-{name[2:]}"
    return re.sub(r"-([LB]E)$", r" \1", name.replace("_", "-").upper())


# --- does it make sense? -------------------------------------------------------------------------


def _plain(content: str) -> bool:
    """Known characters only, and not those that line ends and spaces become in the wrong order."""
    return all(c.isprintable() or c.isspace() for c in content) and not re.search(
        "[\u0a00\u0d00\u2000\u0900]", content
    )


def _chinese(content: str) -> bool:
    """Most characters are of GB 2312's first level, the 3755 common ones."""
    codes = [c.encode("gb2312", "replace") for c in _NON_ASCII.findall(content)]
    han = [code for code in codes if len(code) == 2 and 0xB0 <= code[0] <= 0xF7]
    signs = sum(len(code) == 2 and code[0] in (0xA1, 0xA3) for code in codes)
    common = sum(code[0] <= 0xD7 for code in han)
    return bool(han) and len(han) + signs == len(codes) and common >= 0.7 * len(han)


def _traditional(content: str) -> bool:
    """All characters are of Big5's first level, and none is in a word with Latin letters."""
    codes = [c.encode("big5", "replace") for c in _NON_ASCII.findall(content)]
    return all(len(code) == 2 and 0xA1 <= code[0] <= 0xC6 for code in codes) and not re.search(
        r"[a-zA-Z][^\x00-\x7f]|[^\x00-\x7f][a-zA-Z]", content
    )


def _japanese(content: str) -> bool:
    """Kana, with or without kanji."""
    wide = _NON_ASCII.findall(content)
    kana = sum("\u3040" <= c <= "\u30ff" for c in wide)
    return kana >= 0.2 * len(wide) and all(
        "\u3000" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" for c in wide
    )


def _korean(content: str) -> bool:
    return all("\uac00" <= c <= "\ud7a3" for c in _NON_ASCII.findall(content))


def _russian(content: str) -> bool:
    """Words of Cyrillic letters in natural case, and no signs but quotes and dashes between."""
    words = [word for word in _WORD.findall(content) if _NON_ASCII.search(word)]
    return bool(words) and all(
        set(_NON_ASCII.findall(_WORD.sub("", content))) <= set(_SIGNS)
        and all("\u0400" <= c <= "\u04ff" for c in word)
        and word[1:] in (word[1:].lower(), word[1:].upper())
        for word in words
    )


def _western(content: str) -> bool:
    """Words with accents in natural case, at most as many accents as plain letters and one."""
    words = [word for word in _WORD.findall(content) if _NON_ASCII.search(word)]
    return set(_NON_ASCII.findall(_WORD.sub("", content))) <= set(_SIGNS) and all(
        word.isalpha()
        and 2 * len(_NON_ASCII.findall(word)) < len(word) + 2
        and (word[1:] == word[1:].lower() or word == word.upper())
        for word in words
    )


_SIGNS = "–—‘’“”…°©®«»¿¡\xa0·"
_PLAUSIBLE: dict[str, Callable[[str], bool]] = {
    "gb18030": _chinese,
    "big5": _traditional,
    "shift_jis": _japanese,
    "euc_jp": _japanese,
    "euc_kr": _korean,
    "cp1251": _russian,
    "cp1252": _western,
}
