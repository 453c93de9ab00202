"""Videos to folders of pictures as upstream's loader wants them: img_00001.jpg, img_00002.jpg, …

Where upstream starts one ffmpeg per video, OpenCV decodes in threads (it holds no Python lock while
it works). Pictures are made smaller by pixel area, which is closer to what preprocessing does with
the video itself than ffmpeg's bicubic filter is (benchmarks/frames.py).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import floor, inf
from pathlib import Path

from edge_tsm.data.catalog import Clip, Skipped
from edge_tsm.datatypes import Image
from edge_tsm.errors import SinkError, SourceError
from edge_tsm.sources import OnProgress, Recording, TimeFilter, VideoFile, open_recording

FRAME_NAME = "img_{:05d}.jpg"  # upstream's image_tmpl; counted from 1
SCRATCH = ".cutting"
Outcome = int | Skipped
CUT_SLACK_S = 1.0  # by which a clip of its own may exceed the span that the annotation gives


@dataclass(frozen=True)
class Cut:
    """How pictures are written.

    `short_side_px`: 256 is upstream's for Something-Something and what its test-time resize makes
    of every picture; its Kinetics frames had 331. Smaller videos are not enlarged. `quality` is
    JPEG's. `fps` thins to at most so many pictures a second of video.
    """

    short_side_px: int = 256
    quality: int = 95
    fps: float | None = None


class _Stopped(Exception):
    """The run ends early; whoever ends it reports why."""


class Cutter:
    """Cuts clips below `target`, several at once; a clip's folder appears when it is complete.

    For one run.
    """

    def __init__(self, target: Path, cut: Cut, *, workers: int) -> None:
        self._target, self._cut, self._workers = target, cut, workers
        self._stop = threading.Event()
        self._number = count()
        self.kept: list[Clip] = []  # those of an earlier run

    def run(self, clips: Sequence[Clip], *, progress: OnProgress | None = None) -> list[Outcome]:
        """Return for each clip the number of its frames, or why it has none.

        Folders of an earlier run are counted and left as they are.

        Raises:
            SinkError: the target cannot be written, say because the disk is full.
        """
        outcomes = dict[int, Outcome]()
        with _scratch(self._target), ThreadPoolExecutor(self._workers) as pool:
            try:
                pending = dict[Future[Outcome], int]()
                for index, clip in enumerate(clips):
                    pending[pool.submit(self._work, clip)] = index
                    last = index == len(clips) - 1
                    while len(pending) >= (1 if last else 4 * self._workers):
                        for future in wait(pending, return_when=FIRST_COMPLETED).done:
                            outcomes[pending.pop(future)] = future.result()
                            if progress:
                                progress(len(outcomes), len(clips))
            finally:
                self._stop.set()  # what still runs after an error or Ctrl-C ends at its next frame
        return [outcomes[index] for index in range(len(clips))]

    def _work(self, clip: Clip) -> Outcome:
        folder = self._target / clip.name
        if (folder / FRAME_NAME.format(1)).is_file():
            self.kept.append(clip)
            return sum(1 for _ in folder.glob("img_*.jpg"))
        if folder.exists():
            return Skipped(clip.name, "its place in the result is taken", f"by {folder}")
        scratch = self._target / SCRATCH / str(next(self._number))
        try:
            frames = self._write(clip, scratch)
            with _writing(folder):
                folder.parent.mkdir(parents=True, exist_ok=True)
                scratch.rename(folder)
        except SinkError:
            raise
        except OSError as error:
            return Skipped(clip.name, "cannot be read", str(error))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return frames

    def _write(self, clip: Clip, folder: Path) -> int:
        """Write one clip's pictures into a new folder."""
        source = open_recording(clip.path, threads=1)
        start_s, end_s = _span(clip, source)
        with _writing(self._target):
            folder.mkdir()
        number, frames = 0, source.pick(_wanted(start_s, self._cut.fps), until_s=end_s)
        for number, frame in enumerate(frames, 1):
            if self._stop.is_set():
                raise _Stopped
            data = encode(frame.image, self._cut)
            with _writing(self._target):
                (folder / FRAME_NAME.format(number)).write_bytes(data)
        if number == 0:
            raise SourceError(f"{clip.path}: no frame can be decoded")
        return number


def encode(image: Image, cut: Cut) -> bytes:
    """Return a picture, (H, W, 3) uint8 BGR, as a JPEG with its shorter side at most as asked."""
    import cv2

    height, width = image.shape[:2]
    scale = cut.short_side_px / min(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, cut.quality])
    return bytes(data)


def _span(clip: Clip, source: Recording) -> tuple[float, float]:
    """Return from when to when to cut, in seconds: all of a file that is as short as the clip."""
    if clip.span_s is None or not isinstance(source, VideoFile):
        return 0.0, inf
    start_s, end_s = clip.span_s
    return clip.span_s if source.claimed_s > end_s - start_s + CUT_SLACK_S else (0.0, inf)


def _wanted(start_s: float, fps: float | None) -> TimeFilter:
    """Return a rule that takes frames from `start_s` on, the first in every 1/fps seconds."""
    last = -1

    def wanted(time_s: float) -> bool:
        nonlocal last
        since_s = time_s - start_s + 5e-4  # containers round times to milliseconds
        if fps is None:
            return since_s >= 0
        cell = floor(since_s * fps)
        taken, last = cell > last, max(cell, last)
        return taken

    return wanted


@contextmanager
def _scratch(target: Path) -> Iterator[None]:
    """Have a folder for unfinished clips; what a killed run left in it is removed.

    Raises:
        SinkError: another run is writing to the same target.
    """
    import fcntl

    folder = target / SCRATCH
    with _writing(target):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (target / SCRATCH / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SinkError(f"{target}: another `edge-tsm frames` is writing there") from error
        try:
            for left in folder.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError into a SinkError that says how to go on."""
    try:
        yield
    except OSError as error:
        raise SinkError(
            f"{path}: cannot be written ({error.strerror or error}); complete videos are kept, and "
            "the same command goes on with the rest"
        ) from error
