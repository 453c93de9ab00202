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
from edge_tsm.sinks.film import Film, clip_suffix
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

    def frame(self, frame: Frame, source: str) -> bool:
        """Remember the picture."""
        self._newest[source] = frame.image
        return False

    def write(self, prediction: Prediction, source: str) -> bool:
        """Save a picture for each start; return whether there was one.

        Raises:
            SinkError: it cannot be written.
        """
        image = self._newest.get(source)
        starts = _starts(prediction) if image is not None else []
        for event in starts:
            assert image is not None
            self._files.put(event, source, partial(_write_picture, jpeg=_encode(image)))
        return bool(starts)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Reel:
    """The last seconds of one source, as JPEGs, and the clips that wait for what comes after."""

    source: str
    pictures: deque[tuple[float, Jpeg]] = field(default_factory=deque)
    waiting: list[Event] = field(default_factory=list)


class EventClips:
    """Saves a short video when an action starts: what was before, and after.

    It is H.264 in an .mp4 that browsers play, where PyAV is installed; see `edge_tsm.sinks.film`.
    The pictures of the last seconds are held as JPEGs: 5 s of 720p take about 20 MB.
    """

    def __init__(
        self, files: RetainedFolder, *, before_s: float = BEFORE_S, after_s: float = AFTER_S
    ) -> None:
        self._files, self._before_s, self._after_s = files, before_s, after_s
        self._reels: dict[str, _Reel] = {}

    def frame(self, frame: Frame, source: str) -> bool:
        """Keep the picture, and write the clips that end with it; return whether there was one.

        Raises:
            SinkError: one cannot be written.
        """
        reel = self._reels.setdefault(source, _Reel(source))
        saved = False
        if reel.pictures and (frame.gap or frame.time_s < reel.pictures[-1][0]):
            saved = self._finish(reel)
        reel.pictures.append((frame.time_s, _encode(frame.image)))
        due = [e for e in reel.waiting if frame.time_s >= e.told_s + self._after_s]
        reel.waiting = [event for event in reel.waiting if event not in due]
        saved = self._save_all(reel, due) or saved
        self._forget(reel, frame.time_s)
        return saved

    def write(self, prediction: Prediction, source: str) -> bool:
        """Note each start; its clip is written when its last picture has come."""
        self._reels.setdefault(source, _Reel(source)).waiting.extend(_starts(prediction))
        return False

    def close(self) -> None:
        """Write the clips that still waited, shorter than asked for."""
        for reel in self._reels.values():
            self._finish(reel)

    def _finish(self, reel: _Reel) -> bool:
        waiting, reel.waiting = reel.waiting, []
        try:
            return self._save_all(reel, waiting)
        finally:
            reel.pictures.clear()

    def _save_all(self, reel: _Reel, events: list[Event]) -> bool:
        """Write each clip, the others too where one fails; return whether there was one."""
        errors, saved = list[SinkError](), False
        for event in events:
            try:
                saved = self._save(reel, event) or saved
            except SinkError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return saved

    def _forget(self, reel: _Reel, now_s: float) -> None:
        """Drop what no clip can need any more."""
        span_s = self._before_s + self._after_s
        while reel.pictures[0][0] < now_s - span_s or len(reel.pictures) > span_s * FASTEST_FPS:
            reel.pictures.popleft()

    def _save(self, reel: _Reel, event: Event) -> bool:
        start_s, end_s = event.told_s - self._before_s, event.told_s + self._after_s
        pictures = [(t, jpeg) for t, jpeg in reel.pictures if start_s <= t <= end_s]
        if len(pictures) < 2:
            return False
        self._files.put(event, reel.source, partial(_write_film, pictures=pictures), clip=True)
        return True


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


def _write_film(path: Path, pictures: list[tuple[float, Jpeg]]) -> None:
    span_s = pictures[-1][0] - pictures[0][0]
    fps = min(max((len(pictures) - 1) / max(span_s, 1e-3), 1.0), FASTEST_FPS)
    film = Film(path, fps=fps)
    try:
        for time_s, jpeg in pictures:
            film.write(_decode(jpeg), time_s)
        film.close()
    finally:
        film.discard()


def open_snapshots(value: str, context: SinkContext) -> Snapshots:
    """Open the sink `snapshots` of a folder."""
    return Snapshots(_folder(value, ".jpg", context))


def open_clips(value: str, context: SinkContext) -> EventClips:
    """Open the sink `clips` of a folder."""
    return EventClips(_folder(value, clip_suffix(), context))


def _folder(value: str, suffix: str, context: SinkContext) -> RetainedFolder:
    return RetainedFolder(
        Path(value),
        suffix,
        store=context.store,
        most_files=context.most_files,
        most_bytes=context.most_bytes,
    )
