"""Cut clips of the actions of a timeline, in one more pass over each recording that has some."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.datatypes import Event, Frame
from edge_tsm.errors import SinkError
from edge_tsm.scanning.formats import clock, names
from edge_tsm.scanning.timeline import Scanned, Timeline
from edge_tsm.sinks.film import Film, clip_suffix
from edge_tsm.sources import OnProgress, open_recording
from edge_tsm.system.files import publish, temporary_beside

_LABEL_CHARS = 40


@dataclass
class _Cut:
    """A clip of one action: the frames `first` to `last`, under a temporary name until it ends."""

    path: Path
    first: int
    last: int
    film: Film
    temporary: Path

    def take(self, frame: Frame) -> None:
        self.film.write(frame.image, frame.time_s)

    def end(self) -> Path:
        self.film.close()
        publish(self.temporary, self.path)
        return self.path

    def discard(self) -> None:
        """Leave nothing of what is not finished."""
        self.film.discard()
        self.temporary.unlink(missing_ok=True)


def write_clips(
    timeline: Timeline, folder: Path, *, progress: OnProgress | None = None
) -> list[Path]:
    """Cut a clip of every action into a folder, which is made if missing; return the files.

    A clip begins with the window that spoke for the action first, a window before its start. They
    are named `RECORDING-TIME-LABEL`, and replace those of an earlier scan. `progress` is called
    with (recordings done, recordings in all).

    Raises:
        SinkError: one cannot be written.
        SourceError: a recording cannot be read any more.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder}: cannot be made ({error.strerror})") from error
    made = list[Path]()
    stems = names([file.path for file in timeline.files])
    for done, (stem, file) in enumerate(zip(stems, timeline.files, strict=True), 1):
        made += _cut(file, folder / stem, timeline.pace.window_s) if file.actions else []
        if progress:
            progress(done, len(timeline.files))
    return made


def _cut(file: Scanned, start: Path, before_s: float) -> Iterator[Path]:
    """Cut all clips of one recording in one pass."""
    with closing(open_recording(file.path, fps=file.fps)) as recording, ExitStack() as stack:
        listing = recording.listing(decoded=bool(file.damage))
        spans = [_span(listing.times_s, event, before_s) for event in file.actions]
        wanted = sorted({i for span in spans for i in span})
        waiting = sorted(zip(spans, file.actions, strict=True), key=lambda one: one[0].start)
        open_cuts = list[_Cut]()
        for frame in listing.frames(wanted):
            while waiting and frame.index in waiting[0][0]:
                span, event = waiting.pop(0)
                cut = _opened(_named(start, event), span, file.fps)
                stack.callback(cut.discard)
                open_cuts.append(cut)
            for cut in [cut for cut in open_cuts if cut.last < frame.index]:
                open_cuts.remove(cut)
                yield cut.end()
            for cut in open_cuts:
                cut.take(frame)
        for cut in open_cuts:
            yield cut.end()


def _span(times_s: Iterable[float], event: Event, before_s: float) -> range:
    """Return the frames of an action and of the window before its start."""
    times = list(times_s)
    return range(bisect_left(times, event.start_s - before_s), bisect_right(times, event.told_s))


def _named(start: Path, event: Event) -> Path:
    label = re.sub(r"[^\w.-]+", "_", event.label)[:_LABEL_CHARS]
    time = clock(event.start_s).replace(":", "-")
    return start.with_name(f"{start.name}-{time}-{label}{clip_suffix()}")


def _opened(path: Path, span: range, fps: float) -> _Cut:
    temporary = temporary_beside(path)
    return _Cut(path, span.start, span.stop - 1, Film(temporary, fps=fps), temporary)
