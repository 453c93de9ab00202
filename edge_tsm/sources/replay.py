"""Recorded live streams, played again with their own times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from edge_tsm.bundle.schema import decode
from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources.base import Recording, SourceOptions
from edge_tsm.sources.files import open_recording
from edge_tsm.system.clock import SYSTEM_CLOCK, Alarm, Clock
from edge_tsm.system.files import read_bounded
from edge_tsm.system.opencv import check_name, opencv

LIST_FILE = "frames.jsonl"
MOST_BYTES = 1 << 28  # three million frames
MOST_FRAMES, LATEST_S = 1 << 53, 1e10  # 317 years


@dataclass(frozen=True)
class FrameRecord:
    """One line of a recording's LIST_FILE: a picture's file in the folder, and its frame's facts.

    >>> line = FrameRecord("00000007.png", 7, 0.25).to_line()
    >>> FrameRecord.from_line(line)
    FrameRecord(file='00000007.png', index=7, time_s=0.25, gap=False)
    """

    file: str
    index: int
    time_s: float
    gap: bool = False

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> FrameRecord:
        """Read one line.

        Raises:
            ValueError: it is not a record.
        """
        record = decode(cls, json.loads(line), LIST_FILE, InputError)
        if Path(record.file).name != record.file:
            raise ValueError(f"file {record.file!r} is not in its folder")
        if not (0 <= record.index < MOST_FRAMES and abs(record.time_s) <= LATEST_S):
            raise ValueError(f"index {record.index} or time_s {record.time_s} is out of range")
        return record


class Replay:
    """A folder of `edge_tsm.sinks.recorder`, or a video, played as the live source that it was.

    Frames come when they are due by the clock: in real time, or at once with a `VirtualClock`. A
    clock that starts at `start_s`, the time of the first frame in seconds, gives every frame the
    time that it had, to the bit.

    Raises:
        SourceError: the folder is not a recording.
    """

    live = True

    def __init__(self, recording: Path | Recording, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._recording = _Recorded(recording) if isinstance(recording, Path) else recording
        self.uri, self.fps = f"replay:{self._recording.uri}", self._recording.fps
        self.start_s = next(iter(self._recording)).time_s
        self._clock = clock
        self._alarm = Alarm(clock)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame at its time, until the recording is over or `close`."""
        shift_s = self._clock.now() - self.start_s
        for frame in self._recording:
            time_s = frame.time_s + shift_s
            if not self._alarm.wait_until(time_s):
                return
            yield replace(frame, time_s=time_s)

    def close(self) -> None:
        """End the iteration at once."""
        self._alarm.close()


class _Recorded:
    """The frames of a recorder's folder, with the times at which they were captured."""

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self._records = [record for part in _parts(folder) for record in _read(part)]
        if not self._records:
            raise SourceError(f"{folder} is a recording without a frame")
        self.fps = _rate([record for _, record in self._records])

    def __iter__(self) -> Iterator[Frame]:
        shift_s, before = 0.0, self._records[0]
        for folder, record in self._records:
            if record.gap and folder != before[0]:  # another process went on with the recording
                shift_s = before[1].time_s + shift_s + 1 / self.fps - record.time_s
            before = folder, record
            image = _picture(folder / record.file)
            yield Frame(image, record.index, record.time_s + shift_s, record.gap)


def segments_of(folder: Path) -> list[Path]:
    """Return the numbered folders that a recorder has made in a folder, oldest first."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    numbered = [path for path in found if path.name.isdecimal() and (path / LIST_FILE).is_file()]
    return sorted(numbered, key=lambda path: int(path.name))


def _rate(records: list[FrameRecord]) -> float:
    """Return frames per second, breaks left out."""
    pairs = pairwise(records)
    steps_s = [later.time_s - record.time_s for record, later in pairs if not later.gap]
    return len(steps_s) / (sum(steps_s) or 1.0) or 30.0


def _parts(folder: Path) -> list[Path]:
    return [folder] if (folder / LIST_FILE).is_file() else segments_of(folder)


def _read(folder: Path) -> list[tuple[Path, FrameRecord]]:
    try:
        whole, _, rest = read_bounded(folder / LIST_FILE, MOST_BYTES).decode().rpartition("\n")
        lines = whole.splitlines()
        if rest.endswith("}"):  # the last line of a recording that was cut off may be torn
            lines.append(rest)
        return [(folder, FrameRecord.from_line(line)) for line in lines]
    except (OSError, ValueError, RecursionError) as error:
        problem = f"{error!s:.300}"
        raise SourceError(f"{folder} is not a recording of edge-tsm ({problem})") from error


def _picture(path: Path) -> Image:
    """Read a picture of a recording, which lies in its folder and nowhere else.

    Raises:
        SourceError: it is a link or no file, or is not a picture.
    """
    check_name(str(path))
    if path.is_symlink() or not path.is_file():
        raise SourceError(f"{path} is not a file of the recording")
    try:
        image: Image | None = opencv().imread(str(path))
    except opencv().error as error:  # more pixels than OpenCV takes
        raise SourceError(f"{path} cannot be decoded ({error!s:.200})") from error
    if image is None:
        raise SourceError(f"{path} cannot be decoded")
    return image


def open_replay(uri: str, _options: SourceOptions, clock: Clock) -> Replay:
    """Open `replay:` before a recorder's folder, or before whatever `open_recording` takes.

    Raises:
        SourceError: it does not exist, or is neither.
    """
    path = Path(uri.removeprefix("replay:"))
    return Replay(path if _parts(path) else open_recording(path), clock=clock)
