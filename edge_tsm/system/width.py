"""How wide text is on a terminal: Chinese, Japanese and Korean characters take two columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_WIDE = ("W", "F")  # Unicode's East Asian Width (UAX #11)
_NOTHING = ("Mn", "Me", "Cf")  # marks over others, and joiners


def columns_of(text: str) -> int:
    """Return the columns that text takes.

    >>> columns_of("wave"), columns_of("挥手"), columns_of("e\u0301")
    (4, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def fit(text: str, most: int) -> str:
    """Return text cut to so many columns, with an ellipsis for the rest.

    >>> fit("挥手告别", 6), fit("wave", 4)
    ('挥手…', 'wave')
    """
    return text if columns_of(text) <= most else head(text, most - 1) + "…"


def head(text: str, most: int) -> str:
    """Return what of the text's start takes at most so many columns."""
    taken = 0
    for i, char in enumerate(text):
        taken += _columns(char)
        if taken > most:
            return text[:i]
    return text


def tail(text: str, most: int) -> str:
    """Return what of the text's end takes at most so many columns.

    >>> tail("模型/model.onnx", 12)
    '/model.onnx'
    """
    taken = 0
    for i in range(len(text) - 1, -1, -1):
        taken += _columns(text[i])
        if taken > most:
            return text[i + 1 :]
    return text


def left(text: str, most: int) -> str:
    """Return text with spaces after it up to so many columns."""
    return text + " " * (most - columns_of(text))


def wrap(text: str, most: int) -> list[str]:
    """Return text in lines of at most so many columns, cut at spaces where there are some.

    >>> wrap("two hands 挥手告别", 9)
    ['two hands', '挥手告别']
    >>> wrap("挥手告别", 5)
    ['挥手', '告别']
    """
    lines, line = list[str](), ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if columns_of(joined) <= most:
            line = joined
            continue
        lines += [line] if line else []
        *whole, line = _pieces(word, most)
        lines += whole
    return [*lines, line] if line else lines


def _pieces(word: str, most: int) -> Iterator[str]:
    while columns_of(word) > most:
        piece = head(word, most) or word[0]
        yield piece
        word = word[len(piece) :]
    yield word


def _columns(char: str) -> int:
    if unicodedata.category(char) in _NOTHING:
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1
