"""A source whose pictures are rotated and cropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import cast

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import (
    FrameChooser,
    OnProgress,
    Recording,
    Source,
    SourceOptions,
    TimeFilter,
)


class TransformedSource:
    """The pictures of `source`, rotated clockwise and then cropped, as the options say."""

    def __init__(self, source: Source, options: SourceOptions) -> None:
        self.uri, self.live, self.fps = source.uri, source.live, source.fps
        self.reopens = getattr(source, "reopens", False)
        self.source, self._options = source, options

    def __iter__(self) -> Iterator[Frame]:
        """Yield the source's frames, transformed.

        Raises:
            SourceError: the crop lies outside the picture.
        """
        return map(self._transformed, self.source)

    def sample(self, choose: FrameChooser, *, progress: OnProgress | None = None) -> list[Frame]:
        """Return the transformed frames that `choose` picks, of a recording."""
        recording = cast("Recording", self.source)
        return [self._transformed(frame) for frame in recording.sample(choose, progress=progress)]

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the transformed frames that are wanted, of a recording."""
        return map(self._transformed, cast("Recording", self.source).pick(wanted, until_s=until_s))

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def _transformed(self, frame: Frame) -> Frame:
        turned = np.rot90(frame.image, -(self._options.rotate // 90))
        return replace(frame, image=np.ascontiguousarray(self._cropped(turned)))

    def _cropped(self, image: Image) -> Image:
        if self._options.crop is None:
            return image
        left, top, width, height = self._options.crop
        if left + width > image.shape[1] or top + height > image.shape[0]:
            raise SourceError(
                f"{self.uri}: the crop {left},{top},{width},{height} lies outside its pictures "
                f"of {image.shape[1]}x{image.shape[0]}"
            )
        return image[top : top + height, left : left + width]
