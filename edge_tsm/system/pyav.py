"""PyAV (extra `[av]`), imported when it is first needed, and its errors in our words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from edge_tsm.datatypes import Image
from edge_tsm.errors import SourceError
from edge_tsm.system.redact import redact

_log = logging.getLogger(__name__)


@cache
def has_pyav() -> bool:
    """Return whether PyAV can be used; one that is installed and broken is a warning."""
    if find_spec("av") is None:
        return False
    try:
        pyav()
    except SourceError as error:
        _log.warning("%s; OpenCV reads instead", error)
        return False
    return True


@cache
def pyav() -> ModuleType:
    """Import PyAV.

    Raises:
        SourceError: it is not installed, or cannot be loaded.
    """
    try:
        import av
    except ImportError as error:
        raise SourceError(f"av: needs PyAV: pip install 'edge-tsm[av]' ({error})") from error
    module: ModuleType = av
    return module


@contextmanager
def translated(problem: str, hint: str = "") -> Iterator[None]:
    """Turn PyAV's errors into SourceError."""
    try:
        yield
    except pyav().error.ExitError as error:  # our own limit of time
        raise SourceError(f"{problem}: it did not answer in time{hint}") from error
    except pyav().error.FFmpegError as error:
        raise SourceError(f"{problem}: {redact(error.strerror)}{hint}") from error


class Converter:
    """Makes decoded pictures of one video (H, W, 3) uint8 BGR, turned as its file says.

    What FFmpeg sets up for a size is kept, and it works in this thread. PyAV's own
    `picture.to_ndarray(format="bgr24")` sets up all anew for each picture, with threads for every
    core: 7 ms for one of 320x240, where this takes 0.05. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._reformatter = pyav().video.reformatter.VideoReformatter()

    def __call__(self, picture: Any) -> Image:
        """Convert one picture."""
        converted = self._reformatter.reformat(picture, format="bgr24", threads=1)
        return _turned(picture, converted.to_ndarray())


def bgr_of(picture: Any) -> Image:
    """Convert one picture by threads of its own, which takes some milliseconds.

    For live streams: a camera that sends in bursts is read no faster than the capture, which holds
    one frame, takes what it needs. With `Converter` most frames of a burst were lost there.
    """
    return _turned(picture, picture.to_ndarray(format="bgr24"))


def _turned(picture: Any, image: Image) -> Image:
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
