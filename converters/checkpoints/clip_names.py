"""What names of files say of clips: FRAMESxINTERVAL, as 8x8 and 4x16, with clips a video 4x16x1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoints.beside import Hint

_CLIP = re.compile(r"(?<![\dA-Za-z])(\d{1,3})x(\d{1,3})(?:x(\d{1,3}))?(?![\dxA-Za-z])")
# Of the slow pathway: what the papers' and all model zoos' names mean. 32x2 is the fast pathway's.
_ALPHAS = {(4, 16): 8, (8, 8): 4, (16, 8): 4}


@dataclass(frozen=True)
class ClipName:
    """What a name says: frames of a clip, the interval between them, and how many clips a video."""

    text: str
    where: str
    frames: int
    interval: int
    clips: int | None

    @property
    def source(self) -> str:
        """Where it was read, for people."""
        return f"{self.text} in the name of the {self.where}"


def clip_names(path: Path) -> Iterator[ClipName]:
    """Yield what the names of a file and, after it, of its folder say."""
    for where, name in (("file", path.name), ("folder", path.absolute().parent.name)):
        for match in _CLIP.finditer(name):
            frames, interval, clips = (int(n) if n else None for n in match.groups())
            if frames and interval:
                yield ClipName(match[0], where, frames, interval, clips)


def single_pathway(path: Path) -> list[Hint]:
    """Return what a name says of a network of one pathway, whose frames it counts."""
    return [
        (name.source, {"segments": name.frames, "interval": name.interval})
        for name in list(clip_names(path))[:1]
    ]


def slowfast(path: Path) -> list[Hint]:
    """Return what a name says of a SlowFast, whose slow frames it counts."""
    for name in clip_names(path):
        alpha = _ALPHAS.get((name.frames, name.interval))
        if alpha is not None:
            hints: dict[str, Any] = {
                "alpha": alpha,
                "segments": name.frames * alpha,
                "interval": name.interval // alpha,
            }
            return [(name.source, hints)]
    return []
