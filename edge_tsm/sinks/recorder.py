"""The frames of a live source with their times, for `replay:`."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.sources.replay import LIST_FILE, FrameRecord
from edge_tsm.system.opencv import opencv

PNG_LEVEL = 1  # ten times as fast as the default, a tenth larger
MOST_MIB = 4096.0


class Recorder:
    """Writes the frames of one source into a new folder, for `replay:FOLDER`.

    Pictures are PNG, so that a replay shows what the camera showed, to the bit. `most_mib` bounds
    the folder; what comes later is left out.
    """

    def __init__(self, folder: Path, *, most_mib: float = MOST_MIB) -> None:
        self._folder, self._left = folder, most_mib * 2**20
        self._list: IO[str] | None = None

    def frame(self, frame: Frame, source: str = "") -> None:
        """Append one frame.

        Raises:
            SinkError: the folder exists already, or cannot be written.
        """
        if self._left <= 0:
            return
        cv2 = opencv()
        try:
            stream = self._list or self._open()
            record = FrameRecord(f"{frame.index:08d}.png", frame.index, frame.time_s, frame.gap)
            _, data = cv2.imencode(".png", frame.image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
            (self._folder / record.file).write_bytes(data)
            stream.write(record.to_line())
            stream.flush()
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot record to it ({error})") from error
        self._left -= len(data)

    def write(self, prediction: Prediction, source: str) -> None:
        """Keep no answers: a replay gives them again."""

    def close(self) -> None:
        """Finish the list."""
        if self._list is not None:
            self._list.close()

    def _open(self) -> IO[str]:
        self._folder.mkdir(parents=True)
        self._list = (self._folder / LIST_FILE).open("w", encoding="utf-8")
        return self._list


def open_recorder(value: str, _context: SinkContext) -> Recorder:
    """Open the sink `recorder` of a new folder."""
    return Recorder(Path(value))
