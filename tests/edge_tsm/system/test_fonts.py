"""Letters of any script in pictures: by a font of the system, else told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_tsm.system import fonts

# A bitmap font of one size with two letters, 打 and what it draws for letters that it lacks.
_BDF = """STARTFONT 2.1
FONT -test-fixed-medium-r-normal--16-160-72-72-c-160-iso10646-1
SIZE 16 72 72
FONTBOUNDINGBOX 16 16 0 0
STARTPROPERTIES 6
DEFAULT_CHAR 0
PIXEL_SIZE 16
FONT_ASCENT 16
FONT_DESCENT 0
CHARSET_REGISTRY "ISO10646"
CHARSET_ENCODING "1"
ENDPROPERTIES
CHARS 2
STARTCHAR none
ENCODING 0
SWIDTH 1000 0
DWIDTH 16 0
BBX 16 16 0 0
BITMAP
{none}
ENDCHAR
STARTCHAR u6253
ENCODING 25171
SWIDTH 1000 0
DWIDTH 16 0
BBX 16 16 0 0
BITMAP
{rows}
ENDCHAR
ENDFONT
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No font remembered, none known by its path, and nothing told yet."""
    monkeypatch.setattr(fonts, "_KNOWN", ())
    monkeypatch.setattr(fonts, "_chosen", [])
    caches = (fonts._candidates, fonts._tell)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def listing(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Put an fc-list first in PATH that knows these fonts."""
    program = folder / "fc-list"
    program.write_text("#!/bin/sh\n" + "".join(f"printf '{line}\\n'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_font_of_the_system_draws_what_pillow_s_own_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows, none = (("\n".join(pair * 8)) for pair in (["AAAA", "5555"], ["FFFF", "FFFF"]))
    (tmp_path / "zh.bdf").write_text(_BDF.format(rows=rows, none=none))
    listed = (
        f"200\\tNoto Sans SC\\t0\\t{tmp_path}/bold.ttf",
        f"80\\tWenQuanYi\\t0\\t{tmp_path}/zh.bdf",
        f"80\\tNoto Sans SC\\t2\\t{tmp_path}/broken.ttf",
    )
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    listing(tmp_path, monkeypatch, *listed, "junk")
    font = fonts.font_for("打", 16)
    assert getattr(font, "path", None) == str(tmp_path / "zh.bdf")
    picture = Image.new("L", (16, 16))
    ImageDraw.Draw(picture).text((0, 0), "打", fill=255, font=font)
    assert np.asarray(picture).mean() == pytest.approx(127.5, abs=10)  # the checkered letter
    assert not caplog.records


def test_letters_that_no_font_has_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listing(tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING):
        for text in ("打架", "挥手", "打架"):
            assert fonts.font_for(text, 16) is fonts.font_for("wave", 16)
    assert ["fonts-noto-cjk" in record.message for record in caplog.records] == [True]


def test_latin_letters_ask_for_no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert fonts.font_for("Übergröße, naïve", 16) is fonts.font_for("plain", 16)
