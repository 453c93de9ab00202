"""The windows of a recording: those that live video of the same frames and times would give.

The very assemblers of live video choose them, from the times of frames alone; only then are the
frames that a window holds decoded to pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.live.assembler import AssembledClip, Assembler
from edge_tsm.sources.files import FrameListing

_UNSEEN: Image = np.zeros((0, 0, 3), np.uint8)  # stands for a picture whose time alone counts


class LostFrameError(SourceError):
    """A frame that a recording lists cannot be decoded."""


def planned(assembler: Assembler, times_s: Sequence[float]) -> list[AssembledClip]:
    """Return the clips that live frames of these times would make, without their pictures."""
    clips = []
    for index, time_s in enumerate(times_s):
        frame = Frame(_UNSEEN, index, time_s)
        if assembler.wants(frame) and (clip := assembler.add(frame, _UNSEEN)) is not None:
            clips.append(clip)
    return clips


def pictured(
    clips: Sequence[AssembledClip], listing: FrameListing, prepare: Callable[[Image], Image]
) -> Generator[AssembledClip, None, None]:
    """Yield planned clips with their crops; each frame is decoded and prepared once.

    Raises:
        LostFrameError: a frame of theirs cannot be decoded.
    """
    wanted = sorted({index for clip in clips for index in clip.window.frames})
    frames, crops = iter(listing.frames(wanted)), dict[int, Image]()
    for clip in clips:
        needed = clip.window.frames
        _take(frames, crops, max(needed), prepare)
        missing = [index for index in needed if index not in crops]
        if missing:
            raise LostFrameError(f"frame {missing[0]} cannot be decoded")
        yield replace(clip, crops=[crops[index] for index in needed])
        for index in [index for index in crops if index < min(needed)]:
            del crops[index]


def _take(
    frames: Iterator[Frame], crops: dict[int, Image], last: int, prepare: Callable[[Image], Image]
) -> None:
    """Prepare frames up to the `last` one of a clip."""
    while max(crops, default=-1) < last and (frame := next(frames, None)) is not None:
        crops[frame.index] = prepare(frame.image)
