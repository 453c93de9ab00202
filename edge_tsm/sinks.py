"""Where answers go: a terminal, JSON lines, an annotated video."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from edge_tsm.datatypes import Frame, Image, Prediction
from edge_tsm.errors import SinkError

BAR_CHARS = 24
_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class Sink(Protocol):
    """Takes answers."""

    def write(self, prediction: Prediction, source: str) -> None:
        """Deliver one answer; `source` is the URI it belongs to."""
        ...


class Terminal:
    """Top-5 with bars, one block per answer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction, source: str) -> None:
        """Print one answer."""
        window = prediction.window
        span = f"  {window.start_s:.2f} to {window.end_s:.2f} s" if window else ""
        self._stream.write(f"{source}{span}  ({prediction.inference_ms:.0f} ms)\n")
        columns = shutil.get_terminal_size().columns
        longest = min(BAR_CHARS, columns // 3)
        for score in prediction.top(5):
            bar = "█" * round(score.probability * longest)
            label = _fit(score.label, max(columns - longest - 12, 8))
            self._stream.write(f"  {score.probability:6.1%}  {bar:<{longest}}  {label}\n")
        self._stream.flush()


class JsonLines:
    """One JSON object per answer and line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction, source: str) -> None:
        """Print one answer; the source stands first."""
        record = {"source": source, **prediction.to_json()}
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._stream.flush()


class AnnotatedVideo:
    """The pictures with `prediction` drawn on them, as an .mp4 (MPEG-4) or .avi (MJPEG).

    Written under a temporary name beside `path`, and renamed by `close`. Set `prediction` whenever
    there is a new one, from any thread.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        check_video_path(path)
        self._path, self._fps = path, fps
        self._writer: Any = None  # cv2.VideoWriter, made with the first picture's size
        self._panel: tuple[Prediction, Image, Image] | None = None
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
            self._draw(image, prediction)
        self._writer.write(image)

    def close(self) -> None:
        """Finish the file and give it its name; without a picture there is no file."""
        if self._writer is None:
            return
        self._writer.release()
        try:
            if not _is_playable(self._temporary):
                raise SinkError(f"{self._path}: could not be written; is the disk full?")
            self._temporary.chmod(0o666 & ~_umask())  # mkstemp keeps files to their owner
            self._temporary.replace(self._path)
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

        self._temporary, self._size = _temporary_beside(self._path), (height, width)
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

    def _draw(self, image: Image, prediction: Prediction) -> None:
        """Blend the panel in place; it is drawn once per answer, not once per frame."""
        height, width = image.shape[:2]
        if self._panel is None or self._panel[0] is not prediction:
            self._panel = (prediction, *draw_panel(prediction, width, height))
        _, color, alpha = self._panel
        corner = image[: color.shape[0], : color.shape[1]]
        mixed = corner.astype(np.uint16) * (255 - alpha) + color.astype(np.uint16) * alpha
        corner[...] = (mixed // 255).astype(np.uint8)


def check_video_path(path: Path) -> None:
    """Refuse a path that no annotated video can be saved under.

    Raises:
        SinkError: another suffix, or the folder is not there.
    """
    if path.suffix.lower() not in _CODECS or path.is_dir():
        raise SinkError(f"{path}: save as a file, {' or '.join(_CODECS)}")
    if not path.parent.is_dir():
        raise SinkError(f"{path.parent} is not a folder")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # OpenCV would crash on it
        raise SinkError(f"{str(path)!r} is no valid UTF-8 name; rename it") from error


def draw_panel(prediction: Prediction, width: int, height: int) -> tuple[Image, Image]:
    """Return the answer as a picture, (h, w, 3) BGR, and its opacity, (h, w, 1).

    Drawn by Pillow, whose font knows accents and other scripts where OpenCV prints question marks.
    """
    text_px = max(min(height // 18, 28), 10)
    scores = prediction.top(3)
    line_px, pad = round(text_px * 1.5), text_px // 2
    panel_w, panel_h = min(width, text_px * 18), min(height, line_px * len(scores) + 2 * pad)
    panel = PilImage.new("RGBA", (panel_w, panel_h), (0, 0, 0, 150))
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(text_px)
    for row, score in enumerate(scores):
        top = pad + row * line_px
        bar = round((panel_w - 2 * pad) * score.probability)
        draw.rectangle((pad, top, pad + bar, top + line_px - 4), fill=(40, 110, 60, 200))
        text = f"{score.probability:4.0%}  {_fit(score.label, 26)}"
        draw.text((pad + 4, top), text, fill=(255, 255, 255, 255), font=font)
    pixels = np.asarray(panel)
    return pixels[..., 2::-1], pixels[..., 3:].astype(np.uint16)


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


def _temporary_beside(path: Path) -> Path:
    """Return a new empty file in the folder of `path`, with its suffix (OpenCV goes by that)."""
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    return Path(name)


def _is_playable(path: Path) -> bool:
    """Return whether the file opens; a full disk loses an MP4's index, and with it everything."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    opened: bool = capture.isOpened()
    capture.release()
    return opened


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fit(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
