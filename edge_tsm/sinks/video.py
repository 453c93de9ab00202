"""The pictures with the answers on them, as a video file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_tsm.datatypes import Frame, Image, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.overlay import Overlay
from edge_tsm.system.files import publish, temporary_beside
from edge_tsm.system.opencv import check_name

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class AnnotatedVideo:
    """The pictures with `prediction` drawn on them, as an .mp4 (MPEG-4) or .avi (MJPEG).

    Written under a temporary name beside `path`, and renamed by `close`. Set `prediction` whenever
    there is a new one, from any thread.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        check_video_path(path)
        self._path, self._fps = path, fps
        self._writer: Any = None  # cv2.VideoWriter, made with the first picture's size
        self._overlay = Overlay()
        self.prediction: Prediction | None = None

    def write(self, frame: Frame) -> None:
        """Append one picture with the answer drawn in its upper left corner.

        Raises:
            SinkError: the file cannot be written.
        """
        height, width = frame.image.shape[:2]
        if self._writer is None:
            self._open(width, height)
        image, prediction = self._fitted(frame.image), self.prediction
        if prediction is not None:
            self._overlay.draw(image, prediction)
        self._writer.write(image)

    def close(self) -> None:
        """Finish the file and give it its name; without a picture there is no file."""
        if self._writer is None:
            return
        self._writer.release()
        try:
            if not _is_playable(self._temporary):
                raise SinkError(f"{self._path}: could not be written; is the disk full?")
            publish(self._temporary, self._path)
        except OSError as error:
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"{self._path}: cannot be written ({error.strerror})") from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was written, after an error."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self._temporary.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> None:
        import cv2

        self._temporary, self._size = temporary_beside(self._path), (height, width)
        suffix = self._path.suffix.lower()
        codec = cv2.VideoWriter.fourcc(*_CODECS[suffix])
        self._writer = cv2.VideoWriter(str(self._temporary), codec, self._fps, (width, height))
        if not self._writer.isOpened():
            self.discard()
            raise SinkError(f"{self._path}: this OpenCV cannot write {_CODECS[suffix]} video")

    def _fitted(self, image: Image) -> Image:
        """Return a copy in the video's size, which is that of its first picture."""
        import cv2

        if image.shape[:2] == self._size:
            return image.copy()
        resized: Image = cv2.resize(image, self._size[::-1])
        return resized


class SavedVideo:
    """An annotated video of a live source, as a sink of its frames and answers."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._video = AnnotatedVideo(path, fps=fps)

    def frame(self, frame: Frame, source: str) -> None:
        """Append one picture with the newest answer on it."""
        self._video.write(frame)

    def write(self, prediction: Prediction, source: str) -> None:
        """Show this answer from now on."""
        self._video.prediction = prediction

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._video.close()


def check_video_path(path: Path) -> None:
    """Refuse a path that no annotated video can be saved under.

    Raises:
        SinkError: another suffix, or a folder that does not exist.
    """
    if path.suffix.lower() not in _CODECS or path.is_dir():
        raise SinkError(f"{path}: save as a file, {' or '.join(_CODECS)}")
    if not path.parent.is_dir():
        raise SinkError(f"{path.parent} is not a folder")
    check_name(str(path), error_type=SinkError)


def write_annotated(
    path: Path, frames: Iterable[Frame], prediction: Prediction, *, fps: float
) -> None:
    """Write every frame with the same answer on it, as for a whole file."""
    video = AnnotatedVideo(path, fps=fps)
    video.prediction = prediction
    try:
        for frame in frames:
            video.write(frame)
        video.close()
    finally:
        video.discard()


def _is_playable(path: Path) -> bool:
    """Return whether the file opens; a full disk loses an MP4's index, and with it everything."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    opened: bool = capture.isOpened()
    capture.release()
    return opened


def open_video(value: str, context: SinkContext) -> SavedVideo:
    """Open the sink `video` of a file."""
    return SavedVideo(Path(value), fps=context.fps)
