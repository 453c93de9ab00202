"""The pictures with the answers on them, as a video file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.film import Film
from edge_tsm.sinks.overlay import Overlay
from edge_tsm.sinks.segments import Outage, SegmentLimits
from edge_tsm.system.files import publish, temporary_beside
from edge_tsm.system.opencv import check_name

_SUFFIXES = (".mp4", ".avi")


class AnnotatedVideo:
    """The pictures with `prediction` drawn on them: an .mp4 (H.264, if it can be) or .avi (MJPEG).

    Written under a temporary name beside `path`, and renamed by `close`, when every picture is in
    it. Set `prediction` whenever there is a new one, from any thread.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        check_video_path(path)
        self._path, self._fps = path, fps
        self._film: Film | None = None
        self._temporary = path
        self._overlay = Overlay()
        self.prediction: Prediction | None = None

    @property
    def bytes(self) -> int:
        """Size of the file so far."""
        return self._temporary.stat().st_size if self._film else 0

    def write(self, frame: Frame) -> None:
        """Append one picture with the answer drawn in its upper left corner.

        Raises:
            SinkError: the file cannot be written.
        """
        if self._film is None:
            self._temporary = temporary_beside(self._path)
            self._film = Film(self._temporary, fps=self._fps)
        image = frame.image.copy()
        if self.prediction is not None:
            self._overlay.draw(image, self.prediction)
        try:
            self._film.write(image, frame.time_s)
        except OSError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Finish the file and give it its name; without a picture there is no file.

        Raises:
            SinkError: the file could not be written, or not all of it.
        """
        if self._film is None:
            return
        try:
            self._film.close()
            publish(self._temporary, self._path, private=True)
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was written, after an error."""
        film, self._film = self._film, None
        if film is not None:
            film.discard()
            self._temporary.unlink(missing_ok=True)

    def _lost(self, error: OSError) -> SinkError:
        """Drop the file; return an error that says what is lost."""
        frames = self._film.frames if self._film else 0
        self.discard()
        reason = error if isinstance(error, SinkError) else error.strerror
        lost = f"; {frames} frames are lost" if frames else ""
        return SinkError(f"{self._path}: cannot be written ({reason}){lost}")


class SavedVideo:
    """Annotated videos of a live source, as a sink of its frames and answers.

    The first is named as asked for, the following `NAME-000002.mp4` and so on; where there are some
    already they are gone on with. On a full disk saving stops, and goes on when there is room.
    """

    def __init__(self, path: Path, *, fps: float, limits: SegmentLimits | None = None) -> None:
        check_video_path(path)
        self._path, self._fps, self._limits = path, fps, limits or SegmentLimits()
        self._video: AnnotatedVideo | None = None
        self._prediction: Prediction | None = None
        self._start_s, self._outage = 0.0, Outage()

    def frame(self, frame: Frame, source: str) -> None:
        """Append one picture with the newest answer on it.

        Raises:
            SinkError: it cannot be written.
        """
        self._outage.check(frame)
        try:
            video = self._video_for(frame)
            video.prediction = self._prediction
            video.write(frame)
        except SinkError as error:
            self._video = None
            raise self._outage.begin(frame, error) from error

    def write(self, prediction: Prediction, source: str) -> bool:
        """Show this answer from now on."""
        self._prediction = prediction
        return False

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            SinkError: the file could not be written, or not all of it.
        """
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def _video_for(self, frame: Frame) -> AnnotatedVideo:
        """Return the open video, or start the next one when it is over."""
        video, limits = self._video, self._limits
        if video is not None:
            long = not 0 <= frame.time_s - self._start_s < limits.most_s
            if not long and video.bytes < limits.most_bytes:
                return video
            self.close()
        pieces = self._pieces()
        limits.trim(list(pieces.values()))
        number = max(pieces, default=0) + 1
        name = f"{self._path.stem}-{number:06}{self._path.suffix}"
        path = self._path if number == 1 else self._path.with_name(name)
        self._video, self._start_s = AnnotatedVideo(path, fps=self._fps), frame.time_s
        return self._video

    def _pieces(self) -> dict[int, Path]:
        """Return what is there already, by number, the oldest first."""
        own = re.compile(rf"{re.escape(self._path.stem)}-(\d{{6,}}){re.escape(self._path.suffix)}")
        found = {int(m[1]): p for p in self._path.parent.iterdir() if (m := own.fullmatch(p.name))}
        if self._path.exists():
            found[1] = self._path
        return dict(sorted(found.items()))


def check_video_path(path: Path) -> None:
    """Refuse a path that no annotated video can be saved under.

    Raises:
        SinkError: another suffix, or a folder that does not exist.
    """
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
        raise SinkError(f"{path}: save as a file, {' or '.join(_SUFFIXES)}")
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


def open_video(value: str, context: SinkContext) -> SavedVideo:
    """Open the sink `video` of a file."""
    return SavedVideo(Path(value), fps=context.fps, limits=context.segments)
