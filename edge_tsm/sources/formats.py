"""Which files are videos or pictures, by suffix or by content, and which pictures are one clip."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.errors import SourceError

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("mp4", "avi", "mkv", "mov", "webm", "m4v", "mpg", "mpeg", "ts", "wmv", "flv", "3gp"),
        *("mts", "m2ts", "vob", "mxf", "dav", "h264", "h265", "264", "265", "hevc", "av1", "ivf"),
        *("m2v", "mpv", "ogv", "asf", "f4v", "3g2", "divx", "rm", "rmvb", "mjpg", "mjpeg", "y4m"),
    )
)
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
# What stands beside clips and is none, so that it is not even opened.
SIDE_SUFFIXES = frozenset(
    (".txt", ".csv", ".json", ".jsonl", ".md", ".tsv", ".yaml", ".xml", ".py")
)
_MAGIC = (  # offset, bytes
    (4, b"ftyp"),  # MP4, MOV
    (8, b"AVI "),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x00\x00\x01\xb3"),
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMV
    (0, b"OggS"),
    (0, b"DHAV"),  # Dahua's recorders
    (0, b"\x00\x00\x00\x01\x67"),  # H.264 as it is
    (0, b"\x00\x00\x00\x01\x40\x01"),  # H.265 as it is
    (0, b"\x06\x0e\x2b\x34"),  # MXF
)
_TS_PACKET = 188
_FLOW = re.compile(
    r"(^|[_\-. ])(flow|optflow|flow[_-]?[xyuvi]|[xyuv]|depth|mask|seg|warp|rgbdiff)([_\-. ]|$)",
    re.IGNORECASE,
)
_SIDE_PICTURE = re.compile(r"^(thumbs?|thumbnail|cover|poster|preview|folder)\b", re.IGNORECASE)
CODECS = {  # by FourCC, as containers write them
    "av01": "AV1",
    "hev1": "H.265",
    "hvc1": "H.265",
    "hevc": "H.265",
    "vp09": "VP9",
    "vp90": "VP9",
    "vp80": "VP8",
    "h264": "H.264",
    "avc1": "H.264",
    "vvc1": "H.266",
    "vvi1": "H.266",
    "apch": "ProRes",
    "apcn": "ProRes",
}


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its suffix or, with none that is known, by content."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    return suffix not in IMAGE_SUFFIXES | SIDE_SUFFIXES and _has_magic(path)


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_TS_PACKET + 1)
    except (OSError, ValueError):
        return False
    packets = len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47
    return packets or any(head[at : at + len(mark)] == mark for at, mark in _MAGIC)


def is_hidden(name: str) -> bool:
    """Return whether this is a file that systems leave behind: `._img_00001.jpg`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Pictures:
    """The pictures of one clip in order; `note` says which were taken where there are others."""

    files: Sequence[Path]
    note: str = ""


def pictures_of(folder: Path) -> Pictures:
    """Return the pictures in a folder that are one clip: those of one form of name.

    Optical flow, depth and masks beside them are left, as are cover pictures.

    Raises:
        SourceError: none, or several clips whose pictures lie side by side.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     for file in ("img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "._img_1.jpg"):
    ...         (Path(name) / file).touch()
    ...     found = pictures_of(Path(name))
    >>> [path.name for path in found.files], found.note
    (['img_1.jpg', 'img_2.jpg'], 'img_#.jpg (2) taken, flow_x_#.jpg (1) left')
    """
    groups = defaultdict[str, list[str]](list)
    with os.scandir(folder) as entries:
        for name in (entry.name for entry in entries):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name):
                groups[_form(name)].append(name)
    if not groups:
        raise SourceError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    taken = _one_clip(folder, groups)
    files = [folder / name for name in sorted(groups[taken], key=natural)]
    others = [form for form in groups if form != taken]
    left = ", ".join(_counted(form, groups) for form in sorted(others))
    return Pictures(files, f"{_counted(taken, groups)} taken, {left} left" if others else "")


def _form(name: str) -> str:
    """Return a name with `#` for its numbers; names without are all of one form."""
    form = re.sub(r"\d+", "#", name)
    return form if form != name or _SIDE_PICTURE.match(name) else "names without numbers"


def _one_clip(folder: Path, groups: dict[str, list[str]]) -> str:
    if len(groups) == 1:
        return next(iter(groups))
    left = [f for f in groups if not _FLOW.search(Path(f).stem) and not _SIDE_PICTURE.match(f)]
    if len(left) == 1:
        return left[0]
    forms = sorted(left or groups, key=lambda form: (-len(groups[form]), form))
    shown = ", ".join(_counted(form, groups) for form in forms[:4])
    pattern = forms[0].replace("#", "*") if "#" in forms[0] else "*"
    what = "pictures of several clips" if left else "optical flow and no pictures"
    raise SourceError(
        f"{folder} holds {what}: {shown}; keep one kind in the folder, or name it by a pattern, as "
        f"{folder / pattern}"
    )


def _counted(form: str, groups: dict[str, list[str]]) -> str:
    return f"{form} ({len(groups[form])})"


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which 2 comes before 10, padded or not."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def ignored(names: Iterable[str]) -> str:
    """Return a note about files that are taken for no clip, empty without any."""
    found = sorted(names)
    if not found:
        return ""
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    return f"{len(found)} {'file' if len(found) == 1 else 'files'} ignored: {shown}"
