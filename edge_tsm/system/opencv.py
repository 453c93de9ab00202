"""OpenCV, imported when the first picture is needed."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType
from typing import Protocol

from edge_tsm.datatypes import Image
from edge_tsm.errors import EdgeTsmError, SourceError

MOST_PIXELS = 1 << 28  # of an image file: 16384 x 16384


class VideoCapture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def grab(self) -> bool:
        """Move on to the next frame; False when there is none."""
        ...

    def retrieve(self) -> tuple[bool, Image]:
        """Return whether the grabbed frame could be decoded, and the picture."""
        ...

    def read(self) -> tuple[bool, Image]:
        """Grab and retrieve."""
        ...

    def get(self, property_id: int, /) -> float:
        """Return one of the CAP_PROP values, 0 if it is unknown."""
        ...

    def set(self, property_id: int, value: float, /) -> bool:
        """Ask for a CAP_PROP value; the driver may choose another."""
        ...

    def isOpened(self) -> bool:
        """Return whether there is something to read."""
        ...

    def release(self) -> None:
        """Close the device or file."""
        ...


@cache
def opencv() -> ModuleType:
    """Import OpenCV, and keep its log messages and those of FFmpeg quiet.

    Raises:
        SourceError: it is not installed, or cannot be loaded.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
    quiet = "OPENCV_LOG_LEVEL" not in os.environ
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            "OpenCV is needed for video: pip install 'edge-tsm[camera]' "
            f"or opencv-python-headless ({error})"
        ) from error
    if quiet:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    module: ModuleType = cv2
    return module


def check_name(text: str, *, error_type: type[EdgeTsmError] = SourceError) -> None:
    """Refuse a file name that is not valid UTF-8: OpenCV would crash on it.

    Raises:
        EdgeTsmError: the name has bytes that are not UTF-8; of `error_type`.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise error_type(f"{text!r} is not valid UTF-8; rename the file") from error
