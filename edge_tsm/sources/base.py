"""What a source is, how it may be asked for, and OpenCV imported late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from types import ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError, SourceError

Capture = Any  # cv2.VideoCapture; OpenCV is imported when first needed
Choose = Callable[[int], Sequence[int]]
Progress = Callable[[int, int], None]
Wanted = Callable[[float], bool]
PixelFormat = Literal["bgr24", "rgb24", "gray", "nv12", "yuyv"]
Size = tuple[int, int]  # width, height in pixels
Box = tuple[int, int, int, int]  # left, top, width, height in pixels
LARGEST_PX = 16384


@runtime_checkable
class Source(Protocol):
    """Frames in time order.

    A live source that can be opened again after a `SourceError`, by iterating it anew, says so
    with an attribute `reopens = True`; without it the first error is final. An own source is any
    class with these members.
    """

    uri: str
    live: bool
    fps: float

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; a live source ends only when it is closed, is over, or fails."""
        ...

    def close(self) -> None:
        """Release the device or file; a running iteration ends. May come from any thread."""
        ...


class Recording(Source, Protocol):
    """A source that can be read again: a file or a folder."""

    def sample(self, choose: Choose, *, progress: Progress | None = None) -> list[Frame]:
        """Return the frames that `choose(frame count)` picks, in its order, repeats included."""
        ...

    def pick(self, wanted: Wanted, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield, in time order, the frames for which `wanted(seconds)` holds, up to `until_s`."""
        ...


@dataclass(frozen=True)
class SourceOptions:
    """What is asked of a source, beyond its address.

    `size` (width, height) and `fps` are asked of cameras, test patterns and GStreamer's CSI
    elements; raw frames on stdin need `size` and `pixel_format`. `rotate` is clockwise, `crop`
    (left, top, width, height) is of the rotated picture. `timeout_s` bounds opening and reading
    where the library beneath can.

    Raises:
        InputError: a value that makes no sense.
    """

    size: Size | None = None
    fps: float | None = None
    pixel_format: PixelFormat = "bgr24"
    rotate: Literal[0, 90, 180, 270] = 0
    crop: Box | None = None
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        width, height = self.size or (1, 1)
        if not (0 < width <= LARGEST_PX and 0 < height <= LARGEST_PX):
            raise InputError(f"size {width}x{height}: sides go from 1 to {LARGEST_PX} pixels")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise InputError(f"fps is {self.fps}; it must be more than 0 and at most 1000")
        if self.rotate not in (0, 90, 180, 270):
            raise InputError(f"rotate is {self.rotate}; it must be 0, 90, 180 or 270")
        if self.crop and (min(self.crop) < 0 or min(self.crop[2:]) == 0):
            raise InputError(f"crop {self.crop}: left, top >= 0 and width, height > 0 are needed")
        if not 0 < self.timeout_s <= 3600:
            raise InputError(f"timeout_s is {self.timeout_s}; it must be in (0, 3600]")


def check_name(text: str) -> None:
    """Refuse a name that is no valid UTF-8: OpenCV would crash on it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{text!r} is no valid UTF-8 name; rename it") from error


@cache
def opencv() -> ModuleType:
    """Import OpenCV when the first picture is needed; its chatter, and FFmpeg's, is kept quiet."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    quiet = "OPENCV_LOG_LEVEL" not in os.environ
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            "OpenCV is needed to read video: pip install 'edge-tsm[camera]' "
            f"or opencv-python-headless ({error})"
        ) from error
    if quiet:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    module: ModuleType = cv2
    return module
