"""What names of files say of clips: FRAMESxINTERVAL, as 8x8 and 4x16, with clips a video 4x16x1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoints.beside import Hint
from edge_tsm.errors import CheckpointError

_CLIP = re.compile(r"(?<![\dA-Za-z])(\d{1,3})x(\d{1,3})(?:x(\d{1,3}))?(?![\dxA-Za-z])")
_SEGMENTS = re.compile(r"(?:^|[_.-])(?:num_?)?segments?_?(\d{1,3})(?![\dA-Za-z])")
_MOST_FRAMES = 128  # of a clip; what is larger are pixels, as 640x480x3
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


def segment_names(path: Path) -> list[Hint]:
    """Return what a name says of single frames, one a segment: 1x1x16 or segment16.

    Raises:
        CheckpointError: it says clips of several frames each, which networks of pictures do not
            see.
    """
    for name in clip_names(path):
        if name.clips and 1 < name.frames <= _MOST_FRAMES:
            raise CheckpointError(
                f"{name.source} says clips of {name.frames} frames each (SlowFast, Slow, I3D, "
                "TimeSformer), the weights are of a network that sees single frames (TSM, TSN); "
                f"find out which is right, and if it is the weights, rename the {name.where}"
            )
    hints: list[Hint] = [
        (name.source, {"segments": name.clips})
        for name in clip_names(path)
        if name.frames == 1 and name.clips
    ]
    for where, text in (("file", path.name), ("folder", path.absolute().parent.name)):
        hints += [
            (f"{match[0].strip('_-.')} in the name of the {where}", {"segments": int(match[1])})
            for match in _SEGMENTS.finditer(text)
        ]
    return hints


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
