"""What reaches a terminal does not control it."""

from __future__ import annotations

import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.system.printable import PrintableStream, printable, write_control

JOINERS = "\u200c\u200d"


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu"])))
def test_nothing_invisible_and_no_control_is_left(text: str) -> None:
    left = {c for c in printable(text) if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}}
    assert left == set()
    shown = printable(text)
    assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in shown)
    shown.encode()


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_text_that_is_only_text_stays(text: str) -> None:
    assert printable(text) == text


def test_scripts_and_emoji_keep_their_joiners() -> None:
    text = "می\u200cخواهم 👩\u200d🔧 ünïcödé 手を振る"  # noqa: RUF001
    assert printable(text) == text


@given(st.text())
def test_json_keeps_its_meaning(text: str) -> None:
    inner = io.StringIO()
    PrintableStream(inner).write(json.dumps({"label": text}, ensure_ascii=False) + "\n")
    assert json.loads(inner.getvalue()) == {"label": text}


def test_a_stream_lets_line_ends_and_our_own_sequences_through() -> None:
    inner = io.StringIO()
    stream = PrintableStream(inner)
    write_control(stream, "\r\033[K")
    print("a\tb\x1b[2J", file=stream)  # type: ignore[call-overload]
    stream.writelines(["c\r\n"])
    assert inner.getvalue() == "\r\033[Ka\tb\\u001b[2J\nc\\r\n"
    write_control(inner, "\033[K")
    assert inner.getvalue().endswith("\033[K")
    assert not hasattr(stream, "buffer")
