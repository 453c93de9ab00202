"""Pictures of what happened: one, or a short clip, whenever an action starts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_tsm.datatypes import Event, Frame, Image, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.retention import RetainedFolder

BEFORE_S, AFTER_S = 2.0, 3.0
FASTEST_FPS = 120
JPEG_QUALITY = 90
Jpeg = NDArray[np.uint8]  # (bytes,)


class Snapshots:
    """Saves the newest picture (JPEG, as the source gave it) when an action starts."""

    def __init__(self, files: RetainedFolder) -> None:
        self._files = files
        self._newest: dict[str, Image] = {}

    def frame(self, frame: Frame, source: str) -> None:
        """Remember the picture."""
        self._newest[source] = frame.image

    def write(self, prediction: Prediction, source: str) -> None:
        """Save a picture for each start.

        Raises:
            SinkError: it cannot be written.
        """
        image = self._newest.get(source)
        for event in _starts(prediction):
            if image is not None:
                self._files.put(source, event.label, partial(_write_picture, jpeg=_encode(image)))

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Reel:
    """The last seconds of one source, as JPEGs, and the clips that wait for what comes after."""

    source: str
    pictures: deque[tuple[float, Jpeg]] = field(default_factory=deque)
    waiting: list[Event] = field(default_factory=list)


class EventClips:
    """Saves a short video (.avi, MJPEG) when an action starts: what was before, and after.

    The pictures of the last seconds are held as JPEGs: 5 s of 720p take about 20 MB.
    """

    def __init__(
        self, files: RetainedFolder, *, before_s: float = BEFORE_S, after_s: float = AFTER_S
    ) -> None:
        self._files, self._before_s, self._after_s = files, before_s, after_s
        self._reels: dict[str, _Reel] = {}

    def frame(self, frame: Frame, source: str) -> None:
        """Keep the picture, and write the clips that end with it."""
        reel = self._reels.setdefault(source, _Reel(source))
        if reel.pictures and (frame.gap or frame.time_s < reel.pictures[-1][0]):
            self._finish(reel)
        reel.pictures.append((frame.time_s, _encode(frame.image)))
        due = [e for e in reel.waiting if frame.time_s >= e.told_s + self._after_s]
        reel.waiting = [event for event in reel.waiting if event not in due]
        for event in due:
            self._save(reel, event)
        self._forget(reel, frame.time_s)

    def write(self, prediction: Prediction, source: str) -> None:
        """Note each start; its clip is written when its last picture has come."""
        self._reels.setdefault(source, _Reel(source)).waiting.extend(_starts(prediction))

    def close(self) -> None:
        """Write the clips that still waited, shorter than asked for."""
        for reel in self._reels.values():
            self._finish(reel)

    def _finish(self, reel: _Reel) -> None:
        waiting, reel.waiting = reel.waiting, []
        for event in waiting:
            self._save(reel, event)
        reel.pictures.clear()

    def _forget(self, reel: _Reel, now_s: float) -> None:
        """Drop what no clip can need any more."""
        span_s = self._before_s + self._after_s
        while reel.pictures[0][0] < now_s - span_s or len(reel.pictures) > span_s * FASTEST_FPS:
            reel.pictures.popleft()

    def _save(self, reel: _Reel, event: Event) -> None:
        start_s, end_s = event.told_s - self._before_s, event.told_s + self._after_s
        pictures = [(t, jpeg) for t, jpeg in reel.pictures if start_s <= t <= end_s]
        if len(pictures) < 2:
            return
        span_s = pictures[-1][0] - pictures[0][0]
        fps = min(max((len(pictures) - 1) / max(span_s, 1e-3), 1.0), FASTEST_FPS)
        jpegs = [jpeg for _, jpeg in pictures]
        self._files.put(reel.source, event.label, lambda path: _write_film(path, jpegs, fps))


def _starts(prediction: Prediction) -> list[Event]:
    return [event for event in prediction.events if event.kind == "start"]


def _encode(image: Image) -> Jpeg:
    import cv2

    ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise SinkError(f"a picture of shape {image.shape} cannot be encoded as JPEG")
    encoded: Jpeg = jpeg.reshape(-1)
    return encoded


def _decode(jpeg: Jpeg) -> Image:
    import cv2

    image: Image = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return image


def _write_picture(path: Path, jpeg: Jpeg) -> None:
    path.write_bytes(jpeg.tobytes())


def _write_film(path: Path, jpegs: list[Jpeg], fps: float) -> None:
    """Write an MJPEG .avi in the size of its first picture."""
    import cv2

    first = _decode(jpegs[0])
    size = (first.shape[1], first.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    if not writer.isOpened():
        raise SinkError(f"{path}: this OpenCV cannot write MJPG video")
    for jpeg in jpegs:
        image = _decode(jpeg)
        writer.write(image if image.shape == first.shape else cv2.resize(image, size))
    writer.release()
    if not path.stat().st_size:
        raise SinkError(f"{path}: could not be written; is the disk full?")


def open_snapshots(value: str, context: SinkContext) -> Snapshots:
    """Open the sink `snapshots` of a folder."""
    return Snapshots(_folder(value, ".jpg", context))


def open_clips(value: str, context: SinkContext) -> EventClips:
    """Open the sink `clips` of a folder."""
    return EventClips(_folder(value, ".avi", context))


def _folder(value: str, suffix: str, context: SinkContext) -> RetainedFolder:
    return RetainedFolder(
        Path(value), suffix, most_files=context.most_files, most_bytes=context.most_bytes
    )
