"""Video files that say so when they could not be written; H.264 where something here writes it."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from edge_tsm.datatypes import Image
from edge_tsm.errors import SinkError
from edge_tsm.system.opencv import opencv

MARGIN_BYTES = 1 << 18  # OpenCV does not say that a disk is full
LONGEST_HOLE_S = 2.0  # of a stream; a longer one is left out, as the stream was lost then
_MS = Fraction(1, 1000)

_log = logging.getLogger(__name__)


class _Encoder(Protocol):
    def write(self, image: Image, time_ms: int) -> None:
        """Append a picture of the film's size."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


@dataclass(frozen=True)
class _Format:
    """A way to write a video: what it is called, in which files, and whether browsers play it."""

    name: str
    suffix: str
    plays: bool
    is_there: Callable[[], bool]
    open: Callable[[Path, tuple[int, int], float], _Encoder]


class Film:
    """A video file under construction: the size is that of the first picture, times are kept.

    Args:
        path: an empty file, whose suffix says the container: .mp4 or .avi.
        fps: for containers that know rates only, and across holes.

    Raises:
        SinkError: another suffix, or nothing here writes it.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path, self._fps = path, fps if fps > 0 else 25.0
        self._format = format_for(path.suffix)
        self._encoder: _Encoder | None = None
        self._size = (0, 0)  # width and height
        self._last_s, self._time_ms = 0.0, 0
        self.frames = 0

    def write(self, image: Image, time_s: float) -> None:
        """Append one picture, (H, W, 3) uint8 BGR.

        Raises:
            OSError: the file cannot be written.
        """
        if self._encoder is None:
            self._open(image)
        assert self._encoder is not None
        if shutil.disk_usage(self._path.parent).free < MARGIN_BYTES:
            raise OSError(28, "No space left on device")
        self._encoder.write(self._fitted(image), self._next_ms(time_s))
        self.frames += 1

    def close(self) -> None:
        """Finish the file, and count what is in it.

        Raises:
            OSError: pictures are missing.
        """
        if self._encoder is None:
            return
        encoder, self._encoder = self._encoder, None
        encoder.close()
        if (found := count_frames(self._path)) != self.frames:
            raise SinkError(f"only {found} of {self.frames} frames were written; is the disk full?")

    def discard(self) -> None:
        """Let go of the file, after an error."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            try:
                encoder.close()
            except OSError as error:
                _log.debug("%s: %s", self._path, error)

    def _open(self, image: Image) -> None:
        # Libraries tell a full disk and a missing codec alike; a plain write does not.
        self._path.write_bytes(bytes(MARGIN_BYTES))
        self._path.write_bytes(b"")
        # H.264 takes even sizes only.
        self._size = (max(image.shape[1] // 2 * 2, 2), max(image.shape[0] // 2 * 2, 2))
        self._encoder = self._format.open(self._path, self._size, self._fps)

    def _next_ms(self, time_s: float) -> int:
        """Return the time of a picture in the file: it only grows, and holes are left out."""
        if self.frames:
            step_s = time_s - self._last_s
            usual = 0 < step_s <= LONGEST_HOLE_S
            self._time_ms += max(round((step_s if usual else 1 / self._fps) * 1000), 1)
        self._last_s = time_s
        return self._time_ms

    def _fitted(self, image: Image) -> Image:
        width, height = self._size
        if image.shape[:2] == (height, width):
            return image
        if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
            return image[:height, :width]
        resized: Image = opencv().resize(image, (width, height))
        return resized


def format_for(suffix: str) -> _Format:
    """Return the best way to write files of a suffix here.

    Raises:
        SinkError: there is none.
    """
    found = _best(suffix.lower())
    if found is None:
        raise SinkError(f"{suffix} video cannot be written; save as .mp4 or .avi")
    if suffix.lower() == ".mp4":
        _warn_unless_played(found)
    return found


def clip_suffix() -> str:
    """Return the suffix of films that browsers play, or of what there is instead."""
    found = _best(".mp4")
    if found is not None and found.plays:
        return ".mp4"
    found = format_for(".avi")
    _warn_unless_played(found)
    return found.suffix


@functools.cache
def _best(suffix: str) -> _Format | None:
    return next((f for f in _FORMATS if f.suffix == suffix and f.is_there()), None)


@functools.cache
def _warn_unless_played(found: _Format) -> None:
    """Say once what a file really is."""
    if not found.plays:
        _log.warning(
            "video is written as %s (%s), which browsers do not play; "
            "pip install 'edge-tsm[av]' for H.264",
            *(found.name, found.suffix),
        )


def count_frames(path: Path) -> int:
    """Return how many frames a file holds, without decoding them; 0 if it cannot be read."""
    cv2 = opencv()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    found = 0
    while capture.isOpened() and capture.grab():
        found += 1
    capture.release()
    return found


def _av_has(codec: str) -> bool:
    try:
        import av

        av.codec.Codec(codec, "w")
    except (ImportError, ValueError):
        return False
    return True


class _AvEncoder:
    """PyAV, whose errors are exceptions."""

    def __init__(self, path: Path, size: tuple[int, int], *, codec: str, options: Any) -> None:
        import av

        self._av = av
        self._file = av.open(str(path), "w", options={"movflags": "faststart"})
        self._stream: Any = self._file.add_stream(codec, options=options)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _MS
        self._stream.codec_context.thread_count = 1  # the other cores are for recognition

    def write(self, image: Image, time_ms: int) -> None:
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = time_ms, _MS
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            self._file.mux(self._stream.encode())
        finally:
            self._file.close()


class _CvEncoder:
    """OpenCV, which knows a rate and no times, and does not say what it could not write."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, *, code: str) -> None:
        cv2 = opencv()
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size)
        if not self._writer.isOpened():
            raise SinkError(f"this OpenCV cannot write {code} video")

    def write(self, image: Image, time_ms: int) -> None:
        self._writer.write(image)

    def close(self) -> None:
        self._writer.release()


def _av_format(name: str, suffix: str, codec: str, *, plays: bool, **options: str) -> _Format:
    def open_encoder(path: Path, size: tuple[int, int], fps: float) -> _Encoder:
        return _AvEncoder(path, size, codec=codec, options=options)

    return _Format(name, suffix, plays, functools.partial(_av_has, codec), open_encoder)


def _cv_format(name: str, suffix: str, code: str, *, plays: bool, sure: bool) -> _Format:
    def open_encoder(path: Path, size: tuple[int, int], fps: float) -> _Encoder:
        return _CvEncoder(path, size, fps, code=code)

    def is_there() -> bool:
        return sure or _cv_has(code, suffix)

    return _Format(name, suffix, plays, is_there, open_encoder)


def _cv_has(code: str, suffix: str) -> bool:
    """Return whether OpenCV opens a file of a codec; libraries differ from build to build."""
    cv2 = opencv()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
        opened: bool = writer.isOpened()
        writer.release()
    return opened


# OpenCV's VP9 is left out: 0.3 s a frame of 320x240 (two cores) is too slow for a camera.
_FORMATS = (
    _av_format("H.264", ".mp4", "libx264", plays=True, preset="superfast", crf="24"),
    _av_format(
        *("VP9", ".mp4", "libvpx-vp9"),
        plays=True,
        **{"deadline": "realtime", "cpu-used": "8", "crf": "36", "b": "0"},
    ),
    _cv_format("H.264", ".mp4", "avc1", plays=True, sure=False),
    _cv_format("MPEG-4 part 2", ".mp4", "mp4v", plays=False, sure=True),
    _cv_format("MJPEG", ".avi", "MJPG", plays=False, sure=True),
)
