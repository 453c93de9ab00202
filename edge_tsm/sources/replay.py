"""Recorded live streams, played again with their own times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Recording, check_name, opencv
from edge_tsm.system.clock import SYSTEM_CLOCK, Alarm, Clock

LIST_FILE = "frames.jsonl"  # a recorder's list: one frame a line, {file, index, time_s, gap}


class Replay:
    """A folder of `edge_tsm.sinks.recorder`, or a video, played as the live source that it was.

    Frames come when they are due by the clock: in real time, or at once with a `VirtualClock`. A
    clock that starts at `start_s` gives them the times that they had, to the bit.

    Raises:
        SourceError: the folder is no recording.
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
        self.uri, self._folder = str(folder), folder
        try:
            lines = (folder / LIST_FILE).read_text(encoding="utf-8").splitlines()
            self._records = [json.loads(line) for line in lines if line.endswith("}")]
        except (OSError, ValueError) as error:
            raise SourceError(f"{folder} is no recording of edge-tsm ({error})") from error
        if not self._records:
            raise SourceError(f"{folder} is a recording without a frame")
        times_s = [record["time_s"] for record in self._records]
        self.fps = (len(times_s) - 1) / ((times_s[-1] - times_s[0]) or 1.0) or 30.0

    def __iter__(self) -> Iterator[Frame]:
        for record in self._records:
            path = self._folder / record["file"]
            check_name(str(path))
            image = opencv().imread(str(path))
            if image is None:
                raise SourceError(f"{path} cannot be decoded")
            yield Frame(image, record["index"], record["time_s"], record["gap"])
