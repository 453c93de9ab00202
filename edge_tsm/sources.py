"""Where frames come from: video files, folders of images, cameras.

A source says whether it is `live`: a file gives every frame, a camera the latest (R6).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError

Capture = Any  # cv2.VideoCapture; OpenCV is imported when first needed
Choose = Callable[[int], Sequence[int]]
Progress = Callable[[int, int], None]
Wanted = Callable[[float], bool]
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4",
        ".avi",
        ".mkv",
        ".mov",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".ts",
        ".wmv",
        ".flv",
        ".3gp",
    )
)
MOST_CAMERAS = 1000
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))


@runtime_checkable
class Source(Protocol):
    """Frames in time order."""

    uri: str
    live: bool
    fps: float

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; a live source ends only when it is closed or fails."""
        ...

    def close(self) -> None:
        """Release the device or file; a running iteration ends."""
        ...


class Recording(Source, Protocol):
    """A source that can be read again: a file or a folder."""

    def sample(self, choose: Choose, *, progress: Progress | None = None) -> list[Frame]:
        """Return the frames that `choose(frame count)` picks, in its order, repeats included."""
        ...

    def pick(self, wanted: Wanted, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield, in time order, the frames for which `wanted(seconds)` holds, up to `until_s`."""
        ...


def open_source(uri: str | int | Path) -> Source:
    """Open a video file, a folder of images, or a camera (index or /dev/video path).

    Raises:
        SourceError: nothing there, not readable, or no pictures in it.
    """
    text = str(uri)
    path = Path(text)
    # A folder called 12345 is a folder: data sets name them so. An int is always a camera.
    if isinstance(uri, int) or text.startswith("/dev/") or (text.isdecimal() and not path.exists()):
        return Camera(int(text) if text.isdecimal() else text)
    _check_name(text)
    if not path.exists():
        raise SourceError(f"{text} does not exist; pass a video, a folder of images or a camera")
    return open_recording(path)


def open_recording(path: Path, *, threads: int | None = None) -> Recording:
    """Open a video file or a folder of images, whatever its name; see `open_source`.

    `threads` decode one file, by default as many as OpenCV likes: 1 where several are read at once.
    """
    return ImageFolder(path) if path.is_dir() else VideoFile(path, threads=threads)


class VideoFile:
    """A video file read by OpenCV. Frame counts in containers lie: the decoded frames count."""

    live = False

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.uri = str(path)
        self._path, self._threads = path, threads
        capture = self._open()
        self._claimed = int(capture.get(_cv2().CAP_PROP_FRAME_COUNT))
        rate = capture.get(_cv2().CAP_PROP_FPS)
        self.fps = float(rate) if 0 < rate < 1000 else 25.0
        capture.release()

    @property
    def claimed_s(self) -> float:
        """The duration that the container claims, in seconds; 0 if it claims none."""
        return max(self._claimed, 0) / self.fps

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded."""
        return self.pick(lambda _: True)

    def pick(self, wanted: Wanted, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted frames; only those are converted to pictures."""
        capture, index = self._open(), 0
        try:
            while capture.grab():
                time_s = self._time_s(capture, index)
                if time_s >= until_s:
                    break
                if wanted(time_s):
                    yield self._frame(capture, index)
                index += 1
        finally:
            capture.release()

    def sample(self, choose: Choose, *, progress: Progress | None = None) -> list[Frame]:
        """Return the frames `choose` picks; only those are converted to pictures.

        One pass when the container tells the truth, a second one with the real count when not.

        Raises:
            SourceError: no frame can be decoded.
        """
        wanted = choose(self._claimed) if self._claimed > 0 else []
        count, frames = self._pass(wanted, progress)
        if count == 0:
            raise SourceError(f"{self.uri}: no frame can be decoded; is it a video?")
        if count != self._claimed:
            wanted = choose(count)
            _, frames = self._pass(wanted, progress)
        return [frames[i] for i in wanted]

    def close(self) -> None:
        """Nothing is held open between passes."""

    def _pass(
        self, wanted: Sequence[int], progress: Progress | None
    ) -> tuple[int, dict[int, Frame]]:
        """Decode to the end; return the real frame count and the wanted frames."""
        capture, frames, count = self._open(), dict[int, Frame](), 0
        needed = frozenset(wanted)
        try:
            while capture.grab():
                if count in needed:
                    frames[count] = self._frame(capture, count)
                count += 1
                if progress:
                    progress(count, max(self._claimed, count))
        finally:
            capture.release()
        return count, frames

    def _open(self) -> Capture:
        try:
            if self._path.stat().st_size == 0:
                raise SourceError(f"{self.uri} is empty")
        except FileNotFoundError as error:
            raise SourceError(f"{self.uri} does not exist") from error
        _check_name(self.uri)
        cv2 = _cv2()
        threads = [cv2.CAP_PROP_N_THREADS, self._threads] if self._threads else []
        capture = cv2.VideoCapture(self.uri, cv2.CAP_FFMPEG, threads)
        if not capture.isOpened():
            raise SourceError(f"{self.uri} holds no video that OpenCV can read")
        return capture

    def _frame(self, capture: Capture, index: int) -> Frame:
        ok, image = capture.retrieve()
        if not ok:
            raise SourceError(f"{self.uri}: frame {index} cannot be decoded")
        return Frame(image, index, self._time_s(capture, index))

    def _time_s(self, capture: Capture, index: int) -> float:
        """Return the time of the frame just grabbed."""
        stamp_s = float(capture.get(_cv2().CAP_PROP_POS_MSEC)) / 1000
        return stamp_s if stamp_s > 0 else index / self.fps


class ImageFolder:
    """Frames as images in one folder, in order of the numbers in their names."""

    live = False
    fps = 25.0

    def __init__(self, path: Path) -> None:
        self.uri = str(path)
        files = (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        self._files = sorted(files, key=_natural)
        if not self._files:
            raise SourceError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __iter__(self) -> Iterator[Frame]:
        """Yield every image."""
        return self.pick(lambda _: True)

    def pick(self, wanted: Wanted, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted images, taken to be 25 a second; only those are read."""
        times_s = (i / self.fps for i in range(len(self._files)))
        return (self._frame(i) for i, t in enumerate(times_s) if t < until_s and wanted(t))

    def sample(self, choose: Choose, *, progress: Progress | None = None) -> list[Frame]:
        """Return the frames `choose` picks; each file is read once."""
        wanted = choose(len(self._files))
        frames = {i: self._frame(i) for i in dict.fromkeys(wanted)}
        if progress:
            progress(len(self._files), len(self._files))
        return [frames[i] for i in wanted]

    def close(self) -> None:
        """Nothing is held open."""

    def _frame(self, index: int) -> Frame:
        _check_name(str(self._files[index]))
        image = _cv2().imread(str(self._files[index]))
        if image is None:
            raise SourceError(f"{self._files[index]} cannot be decoded")
        return Frame(image, index, index / self.fps)


class Camera:
    """A local camera through OpenCV; frames carry the monotonic time at which they were read."""

    live = True

    def __init__(self, device: int | str) -> None:
        self.uri = f"camera {device}" if isinstance(device, int) else device
        cv2 = _cv2()
        known = isinstance(device, str) or device < MOST_CAMERAS
        self._capture: Capture = cv2.VideoCapture(device if known else -1)
        self._closed = False
        if not known or not self._capture.isOpened():
            cameras = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
            raise SourceError(f"{self.uri} cannot be opened; cameras here: {cameras}")
        # Honoured by some drivers only; the reading thread of the pipeline is what keeps up.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(rate) if 0 < rate < 1000 else 30.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as the camera delivers them."""
        index = 0
        try:
            while not self._closed:
                ok, image = self._capture.read()
                if not ok:
                    raise SourceError(f"{self.uri} stopped delivering frames after {index}")
                yield Frame(image, index, monotonic())
                index += 1
        finally:
            self._capture.release()

    def close(self) -> None:
        """End the iteration after the frame being read."""
        self._closed = True


def list_videos(folder: Path) -> list[Path]:
    """Return the video files below `folder`, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key by which 2 comes before 10, padded or not."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _check_name(text: str) -> None:
    """Refuse a name that is no valid UTF-8: OpenCV would crash on it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{text!r} is no valid UTF-8 name; rename it") from error


def _cv2() -> ModuleType:
    """Import OpenCV when the first picture is needed; FFmpeg's own chatter stays off stderr."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    try:
        import cv2
    except ImportError as error:
        raise SourceError(
            "OpenCV is needed to read video: pip install 'edge-tsm[camera]' "
            f"or opencv-python-headless ({error})"
        ) from error
    module: ModuleType = cv2
    return module
