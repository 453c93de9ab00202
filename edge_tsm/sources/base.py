"""What a source is, what it can be asked for, and what a kind of source is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol, runtime_checkable

from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError
from edge_tsm.system.clock import Clock

FrameChooser = Callable[[int], Sequence[int]]  # from the number of frames to the indices wanted
TimeFilter = Callable[[float], bool]  # whether the frame at so many seconds is wanted
OnProgress = Callable[[int, int], None]  # is given the frames done and the frames in all
PixelFormat = Literal["bgr24", "rgb24", "gray", "nv12", "yuyv"]
Size = tuple[int, int]  # width, height in pixels
Box = tuple[int, int, int, int]  # left, top, width, height in pixels
LARGEST_PX = 16384


@runtime_checkable
class Source(Protocol):
    """Frames in time order.

    Any class with these members is a source. `fps` is the nominal rate; frames carry their own
    times. `live` sources give the latest frame, others every frame.

    A live source that can be opened again after a `SourceError`, by iterating it anew, says so
    with an attribute `reopens = True`; without it the first error is final.
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

    def sample(self, choose: FrameChooser, *, progress: OnProgress | None = None) -> list[Frame]:
        """Return the frames that `choose(frame count)` picks, in its order, with repeats."""
        ...

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield, in time order, the frames for which `wanted(seconds)` holds, up to `until_s`."""
        ...


@dataclass(frozen=True)
class SourceOptions:
    """What is asked of a source, beyond its address.

    `size` (width, height in pixels) and `fps` are for the kinds that take them; raw frames on
    stdin need `size` and `pixel_format`. `rotate` is in degrees clockwise, `crop` (left, top,
    width, height in pixels) is of the rotated picture. `timeout_s` bounds opening and reading
    where the library beneath can.

    Raises:
        InputError: a value out of its range.

    >>> SourceOptions(size=(1280, 720), rotate=180).fps is None
    True
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


Opener = Callable[[str, SourceOptions, Clock], Source]


@dataclass(frozen=True)
class Scheme:
    """One kind of source: the addresses it recognizes, how it opens them, what they may be asked.

    `form` is an example of its addresses and `summary` says what they are, both for help and
    messages. Without `recognizes`, addresses that begin with `NAME:` are its own. `virtual_time`
    marks recordings that play as live sources in a time of their own, which need not be waited
    for; their source says with an attribute `start_s` when that time begins. `deferrable` ones
    reach a device or a sender that may not be there yet, but later.
    """

    name: str
    form: str
    summary: str
    open: Opener
    recognizes: Callable[[str], bool] | None = None
    takes_size: bool = False
    takes_rate: bool = False
    virtual_time: bool = False
    deferrable: bool = False

    def matches(self, text: str) -> bool:
        """Return whether `text` is an address of this kind."""
        return self.recognizes(text) if self.recognizes else text.startswith(f"{self.name}:")
