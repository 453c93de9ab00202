"""Fonts for pictures: Pillow's own where it has the letters, else one that the system has.

Pillow brings a font of Latin letters only; others would be drawn as boxes.
"""

from __future__ import annotations

import functools
import logging
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
PATIENCE_S = 10.0
# Where fonts with Chinese letters are, on systems without fontconfig.
_KNOWN = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
_log = logging.getLogger("edge_tsm")
_chosen: list[tuple[Path, int]] = []  # fonts that have served a text, with their faces


def font_for(text: str, size_px: int) -> Font:
    """Return a font with all letters of `text`; where there is none, say so once and draw boxes.

    >>> font_for("wave", 12).getlength("wave") > 20
    True
    """
    own = _own(size_px)
    letters = _letters(text)
    if text.isascii() or not isinstance(own, ImageFont.FreeTypeFont) or _has(own, letters):
        return own
    for path, face in [*_chosen, *_candidates(letters)]:
        font = _opened(path, face, size_px)
        if font is not None and _has(font, letters):
            if (path, face) not in _chosen:
                _chosen.append((path, face))
            return font
    _tell()
    return own


@functools.lru_cache(16)
def _own(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


def _letters(text: str) -> frozenset[str]:
    """Return the characters that are to be seen."""
    return frozenset(c for c in text if not c.isascii() and unicodedata.category(c)[0] not in "MCZ")


@functools.lru_cache(1)  # once is enough
def _tell() -> None:
    _log.warning(
        "no font here has all letters of the labels: pictures show boxes instead; install one, as "
        "by apt-get install fonts-noto-cjk"
    )


@functools.lru_cache(64)
def _candidates(letters: frozenset[str]) -> tuple[tuple[Path, int], ...]:
    """Return files of fonts, and faces in them, that may have the letters."""
    return (*_listed(letters), *((Path(known), 0) for known in _KNOWN))


def _listed(letters: frozenset[str]) -> Iterator[tuple[Path, int]]:
    """Yield what fontconfig knows to have all of them, plain ones and those for Chinese first."""
    if (program := shutil.which("fc-list")) is None:
        return
    charset = " ".join(f"{ord(letter):x}" for letter in sorted(letters))
    form = "%{weight}\\t%{family}\\t%{index}\\t%{file}\\n"
    command = [program, f":charset={charset}:scalable=true", "--format", form]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return
    found = [line.split("\t", 3) for line in done.stdout.splitlines()]
    for _, _, face, path in sorted((f for f in found if len(f) == 4), key=_liking):
        if face.isdecimal() and int(face) < 1 << 16:  # higher ones are variations of a face
            yield Path(path), int(face)


def _liking(fields: Sequence[str]) -> tuple[bool, ...]:
    """Return what a font is not: by it the best come first."""
    weight, family, _, _ = fields
    return weight not in ("80", "100"), "Mono" in family, "Sans" not in family, " SC" not in family


@functools.lru_cache(16)
def _opened(path: Path, face: int, size_px: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(str(path), size_px, index=face)
    except OSError:
        return None


def _has(font: ImageFont.FreeTypeFont, letters: frozenset[str]) -> bool:
    """Return whether a font draws each letter otherwise than what it lacks."""
    return all(_drawn(font, letter) != _drawn(font, "\uffff") for letter in letters)


@functools.lru_cache(4096)
def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
