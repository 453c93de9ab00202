"""Encodings: read right, or refused with what they may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.errors import InputError
from edge_tsm.system.text import decode, read_text

MARKS = {"utf-16": "UTF-16 LE", "utf-32": "UTF-32 LE", "utf-8-sig": "UTF-8", "utf-8": "UTF-8"}


@pytest.mark.parametrize(
    ("encoding", "shown", "content"),
    [
        ("gb18030", "GB18030", "挥手\n打架\n"),
        ("gb18030", "GB18030", "打斗\n不打斗\n"),
        ("gb18030", "GB18030", "id,名称\n0,挥手、左\n1,跑步\n"),
        ("big5", "BIG5", "揮手\n打架\n跑步\n"),
        ("shift_jis", "SHIFT-JIS", "けんか\nふつう\n"),
        ("cp1251", "WINDOWS-1251", "\u0431\u043e\u043a\u0441\n\u0431\u043e\u0439\n"),
        ("cp1252", "WINDOWS-1252", "Prügelei\nCafé – gut\nà vélo\n"),
        ("latin-1", "WINDOWS-1252", "señal\nniño\n"),
        ("utf-16-le", "UTF-16 LE", "noFight\n挥手\n"),
        ("utf-16-be", "UTF-16 BE", "noFight\n挥手\n"),
        ("utf-32-be", "UTF-32 BE", "noFight\n挥手\n"),
    ],
)
def test_encodings_are_found(encoding: str, shown: str, content: str) -> None:
    found = decode(content.encode(encoding))
    assert (found.content, found.encoding.upper()) == (content, shown)


@pytest.mark.parametrize("encoding", MARKS)
@given(content=st.text(st.characters(exclude_categories=("C", "Z")), min_size=1))
def test_unicode_is_always_read_as_written(encoding: str, content: str) -> None:
    assert decode(content.encode(encoding)).content == content


@given(
    content=st.text("挥手打架正常跑步跳舞喝水看书 éàüñç", min_size=1),
    encoding=st.sampled_from(["gb18030", "cp1252", "utf-16-le", "utf-16-be"]),
)
def test_older_encodings_are_read_as_written_or_refused_or_named(
    content: str, encoding: str
) -> None:
    """Never another text under the name of Unicode."""
    content += "\n"  # its zero byte shows UTF-16; without any, it may be anything
    try:
        found = decode(content.encode(encoding))
    except (InputError, UnicodeEncodeError):
        return
    assert found.content == content or "UTF-8" not in found.encoding


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe\x00", "broken"),
        (b"\x89PNG\r\n\x1a\n", "save it as UTF-8"),
        (b"PK\x03\x04\0\0abc", "zero bytes"),
        (b"a\x07b", "not text"),
        ("손 흔들기\n박수\n달리기\n걷기\n".encode("euc_kr"), "may be .* or EUC-KR"),
        (b"<!DOCTYPE html>\n<html>", "an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pull|git lfs pull"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_text(tmp_path / "x")
