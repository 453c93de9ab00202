"""The frames of a live source with their times, for `replay:`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.segments import Outage, SegmentLimits
from edge_tsm.sources.replay import LIST_FILE, FrameRecord, segments_of
from edge_tsm.system.files import private_file, private_folder
from edge_tsm.system.opencv import opencv

PNG_LEVEL = 1  # ten times as fast as the default, a tenth larger


@dataclass
class _Segment:
    """A folder that is being filled: its list, first frame's time, and bytes so far."""

    folder: Path
    list: IO[str]
    start_s: float
    bytes: int = 0


class Recorder:
    """Writes the frames of one source into numbered folders of a folder, for `replay:FOLDER`.

    A folder that was recorded to before is gone on with. Pictures are PNG, so that a replay shows
    what the camera showed, to the bit. On a full disk recording stops, and goes on in a new segment
    when there is room.
    """

    def __init__(self, folder: Path, *, limits: SegmentLimits | None = None) -> None:
        self._folder, self._limits = folder, limits or SegmentLimits()
        self._segment: _Segment | None = None
        # The first frame of a process does not follow the last one of the process before.
        self._outage, self._is_cut = Outage(), bool(segments_of(folder))

    def frame(self, frame: Frame, source: str = "") -> None:
        """Append one frame.

        Raises:
            SinkError: it cannot be written.
        """
        self._outage.check(frame)
        try:
            segment = self._segment_for(frame)
            self._write(segment, frame)
        except OSError as error:
            self._finish()
            reason = error if isinstance(error, SinkError) else error.strerror
            message = f"{self._folder}: cannot record to it ({reason})"
            raise self._outage.begin(frame, SinkError(message)) from error

    def write(self, prediction: Prediction, source: str) -> bool:
        """Keep no answers: a replay gives them again."""
        return False

    def close(self) -> None:
        """Finish the list."""
        self._finish()

    def _segment_for(self, frame: Frame) -> _Segment:
        """Return the open segment, or start the next one when it is over."""
        segment, limits = self._segment, self._limits
        if segment is not None:
            long = not 0 <= frame.time_s - segment.start_s < limits.most_s
            if not long and segment.bytes < limits.most_bytes:
                return segment
            self._finish()
        self._segment = self._next(frame)
        return self._segment

    def _next(self, frame: Frame) -> _Segment:
        if (self._folder / LIST_FILE).exists():
            raise SinkError("it is a recording without segments; record to another folder")
        before = segments_of(self._folder)
        self._limits.trim(before)
        folder = self._folder / f"{int(before[-1].name) + 1 if before else 1:06}"
        private_folder(self._folder)
        private_folder(folder)
        return _Segment(folder, private_file(folder / LIST_FILE, "x"), frame.time_s)

    def _write(self, segment: _Segment, frame: Frame) -> None:
        cv2 = opencv()
        path = segment.folder / f"{frame.index:08d}.png"
        gap = frame.gap or self._is_cut
        record = FrameRecord(path.name, frame.index, frame.time_s, gap)
        _, data = cv2.imencode(".png", frame.image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
        try:
            with private_file(path) as stream:
                stream.write(data.tobytes())
            segment.list.write(record.to_line())
            segment.list.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise
        segment.bytes += len(data)
        self._is_cut = False

    def _finish(self) -> None:
        """Close the segment; one that has no picture goes."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        with suppress(OSError):  # every line was flushed, but the one that failed
            segment.list.close()
        if not segment.bytes:
            (segment.folder / LIST_FILE).unlink(missing_ok=True)
            segment.folder.rmdir()


def open_recorder(value: str, context: SinkContext) -> Recorder:
    """Open the sink `recorder` of a folder."""
    return Recorder(Path(value), limits=context.segments)
