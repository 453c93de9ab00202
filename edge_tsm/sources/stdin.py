"""Pictures from a pipe: raw frames of a given size, or PPM pictures, which know their own."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources.base import LARGEST_PX, PixelFormat, Size, SourceOptions
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.opencv import opencv

STDIN = 0
GLANCE_S = 0.2
BLOCK_BYTES = 1 << 16
_MAGIC = b"P6"
_HEADER_BYTES = 200


class Readable(Protocol):
    """A binary stream whose `read(n)` gives fewer than n bytes at its end only."""

    def read(self, count: int, /) -> bytes:
        """Return `count` bytes."""
        ...


class Pipe:
    """Live frames from a binary stream, by default this process's standard input.

    The other end paces it: `ffmpeg … -f image2pipe -c:v ppm - | edge-tsm run --source -`, or raw
    frames of the `size` and `pixel_format` of the options. The stream's end is the source's.
    """

    live = True

    def __init__(
        self,
        stream: Readable | None = None,
        *,
        options: SourceOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.uri = "standard input"
        self._options, self._clock = options or SourceOptions(), clock
        self.fps = self._options.fps or 30.0
        if stream is None and os.isatty(STDIN):
            raise InputError("`-` reads pictures from standard input; pipe some into it")
        self._stream = stream or _Descriptor(STDIN)
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the stream ends.

        Raises:
            SourceError: neither PPM nor raw frames of a known size, or not one whole picture.
        """
        index = -1
        for index, image in enumerate(self._images()):
            yield Frame(image, index, self._clock.now())
            if self._closed:
                return
        if index < 0 and not self._closed:
            raise SourceError(f"{self.uri} ended before a whole picture came")

    def close(self) -> None:
        """End the iteration, also one that waits for standard input."""
        self._closed = True
        if isinstance(self._stream, _Descriptor):
            self._stream.closed = True

    def _images(self) -> Iterator[Image]:
        if self._options.size is None:
            return read_ppm(self._stream, self.uri)
        return read_raw(self._stream, self._options.size, self._options.pixel_format)


def open_pipe(_uri: str, options: SourceOptions, clock: Clock) -> Pipe:
    """Open this process's standard input.

    Raises:
        InputError: it is a terminal.
    """
    return Pipe(options=options, clock=clock)


class _Descriptor:
    """Reads exactly as many bytes as asked of a file descriptor, and gives up soon when closed.

    Python's own buffered stdin would abort the interpreter if it ended during a read.
    """

    def __init__(self, number: int) -> None:
        self._number, self._rest = number, b""
        self.closed = False

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer at the end."""
        parts, missing = [self._rest], count - len(self._rest)
        while missing > 0 and (part := self._some(max(missing, BLOCK_BYTES))):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._rest = data[count:]
        return data[:count]

    def _some(self, most: int) -> bytes:
        while not self.closed:
            if select.select([self._number], [], [], GLANCE_S)[0]:
                return os.read(self._number, most)
        return b""


def read_ppm(stream: Readable, where: str) -> Iterator[Image]:
    """Yield the pictures of a stream of binary PPM (P6), (H, W, 3) uint8 BGR.

    Raises:
        SourceError: something else is in the stream.
    """
    while magic := stream.read(len(_MAGIC)):
        if magic != _MAGIC:
            raise SourceError(
                f"{where} holds no PPM pictures; raw frames need a size and a pixel format"
            )
        width, height, depth = (_number(stream, where) for _ in range(3))
        if depth != 255 or not (0 < width <= LARGEST_PX and 0 < height <= LARGEST_PX):
            raise SourceError(f"{where}: cannot read a PPM of {width}x{height} and depth {depth}")
        data = stream.read(width * height * 3)
        if len(data) < width * height * 3:
            return  # cut off in the middle of a picture
        rgb = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        yield np.ascontiguousarray(rgb[..., ::-1])


def _number(stream: Readable, where: str) -> int:
    """Read one number of a PPM header, past white space and comments."""
    text, comment = b"", False
    for _ in range(_HEADER_BYTES):
        byte = stream.read(1)
        comment = byte == b"#" or (comment and byte != b"\n")
        if byte.isdigit() and not comment:
            text += byte
        elif text:
            return int(text)
    raise SourceError(f"{where}: a PPM header cannot be read")


def read_raw(stream: Readable, size: Size, pixel_format: PixelFormat) -> Iterator[Image]:
    """Yield raw frames of `size` (width, height) as (H, W, 3) uint8 BGR, but not a torn last one.

    Raises:
        InputError: a size that the format cannot have.
    """
    width = size[0]
    rows, depth, decode = _layout(size, pixel_format)
    while len(data := stream.read(rows * width * depth)) == rows * width * depth:
        pixels = np.frombuffer(data, np.uint8)
        yield decode(pixels.reshape((rows, width, depth) if depth > 1 else (rows, width)))


def _layout(size: Size, pixel_format: PixelFormat) -> tuple[int, int, Callable[[Image], Image]]:
    """Return rows and bytes per pixel in memory, and the conversion to BGR."""
    width, height = size
    if pixel_format in ("nv12", "yuyv") and (width % 2 or height % 2):
        raise InputError(f"{pixel_format} cannot be {width}x{height}; both must be even")
    if pixel_format == "bgr24":
        return height, 3, np.copy
    cv2 = opencv()
    rows, depth, code = {
        "rgb24": (height, 3, cv2.COLOR_RGB2BGR),
        "gray": (height, 1, cv2.COLOR_GRAY2BGR),
        "nv12": (height * 3 // 2, 1, cv2.COLOR_YUV2BGR_NV12),
        "yuyv": (height, 2, cv2.COLOR_YUV2BGR_YUYV),
    }[pixel_format]
    return rows, depth, lambda pixels: cv2.cvtColor(pixels, code)
