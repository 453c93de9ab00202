"""Recorded live streams, played again with their own times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Recording, SourceOptions
from edge_tsm.sources.files import open_recording
from edge_tsm.system.clock import SYSTEM_CLOCK, Alarm, Clock
from edge_tsm.system.opencv import check_name, opencv

LIST_FILE = "frames.jsonl"


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
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> FrameRecord:
        """Read one line.

        Raises:
            ValueError: it is not a record.
        """
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"{line!r} is not the record of a frame") from error


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
            path = folder / record.file
            check_name(str(path))
            image = opencv().imread(str(path))
            if image is None:
                raise SourceError(f"{path} cannot be decoded")
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
        lines = (folder / LIST_FILE).read_text(encoding="utf-8").splitlines()
        # The last line of a recording that was cut off may be torn.
        return [(folder, FrameRecord.from_line(line)) for line in lines if line.endswith("}")]
    except (OSError, ValueError) as error:
        raise SourceError(f"{folder} is not a recording of edge-tsm ({error})") from error


def open_replay(uri: str, _options: SourceOptions, clock: Clock) -> Replay:
    """Open `replay:` before a recorder's folder, or before whatever `open_recording` takes.

    Raises:
        SourceError: it does not exist, or is neither.
    """
    path = Path(uri.removeprefix("replay:"))
    return Replay(path if _parts(path) else open_recording(path), clock=clock)
