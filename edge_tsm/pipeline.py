"""From a source to answers: one per recording, a stream of them from a live source."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Protocol, cast

from edge_tsm.datatypes import Frame, Image, Prediction, Window
from edge_tsm.errors import InputError
from edge_tsm.recognizer import Recognizer
from edge_tsm.sampling import Newest, StepClock, TimeWindow
from edge_tsm.sources import Progress, Recording, Source

OnFrame = Callable[[Frame], None]
CLOSE_TIMEOUT_S = 2.0
LONGEST_S = 3600.0


class Pipeline:
    """Iterate it for predictions.

    A recording gives one answer, on the frames that the card's rule chooses. A live source gives
    one every `every_s` seconds of capture time, on the last `window_s` seconds, as soon as these
    hold real frames; a thread reads and prepares each frame once, so that answers never lag behind.

    An online model steps on a live frame `horizon` times in `window_s`, and answers from the first
    step on, every `every_s` seconds, on as many steps as its card says. A gap in time, or time
    running backwards, resets it. `dropped` counts the frames that it was too slow to step on.

    Args:
        source: what `open_source` returned, or an own object with that protocol.
        recognizer: the model.
        window_s: seconds that the segments, or an online model's `horizon` steps, span; by default
            the card's.
        every_s: seconds between answers; by default the card's.
        on_frame: called with every live frame, in the reading thread.
        progress: called with (frames decoded, frames expected) for a recording.
    """

    def __init__(
        self,
        source: Source,
        recognizer: Recognizer,
        *,
        window_s: float | None = None,
        every_s: float | None = None,
        on_frame: OnFrame | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.source, self.recognizer = source, recognizer
        sampling, streaming = recognizer.card.sampling, recognizer.card.streaming
        default_s = streaming.horizon / streaming.fps if streaming else sampling.window_s
        self._window_s = _seconds("window_s", window_s, default_s)
        self._every_s = _seconds("every_s", every_s, sampling.every_s)
        self._horizon = streaming.horizon if streaming else 1
        self._on_frame, self._progress = on_frame, progress
        self._newest: Newest[Item] = Newest()

    @property
    def dropped(self) -> int:
        """How many live frames an online model was too slow to step on."""
        return self._newest.dropped

    def __iter__(self) -> Iterator[Prediction]:
        """Yield predictions until the source ends or fails (SourceError)."""
        if self.source.live:
            return self._steps() if self.recognizer.card.online else self._live()
        return iter([self._recording(cast("Recording", self.source))])

    def _recording(self, source: Recording) -> Prediction:
        frames = source.sample(self.recognizer.sample, progress=self._progress)
        crops = {frame.index: self.recognizer.prepare(frame.image) for frame in frames}
        indices = tuple(frame.index for frame in frames)
        window = Window(indices, frames[0].time_s, frames[-1].time_s)
        return self.recognizer.predict([crops[index] for index in indices], window=window)

    def _live(self) -> Iterator[Prediction]:
        segments = self.recognizer.card.sampling.segments
        with _Capture(self.source, self._keep, TimeWindow(segments, self._window_s)) as capture:
            due_s = 0.0
            while (clip := capture.wait(due_s)) is not None:
                end_s, items = clip
                indices = tuple(index for index, _ in items)
                window = Window(indices, end_s - self._window_s, end_s)
                yield self.recognizer.predict([crop for _, crop in items], window=window)
                due_s = end_s + self._every_s

    def _steps(self) -> Iterator[Prediction]:
        stream, clock = self.recognizer.stream(), StepClock(self._horizon / self._window_s)
        seen: deque[tuple[int, float]] = deque(maxlen=self._horizon)
        due_s = -math.inf

        def keep(frame: Frame) -> Image | None:
            return self._keep(frame, due=clock.due(frame.time_s))

        with _Capture(self.source, keep, self._newest) as capture:
            while (step := capture.wait(-math.inf)) is not None:
                time_s, [(index, crop)] = step
                if seen and not clock.continues(seen[-1][1], time_s):
                    stream.reset()
                    seen.clear()
                    due_s = time_s
                answer = stream.push(crop)
                seen.append((index, time_s))
                if time_s >= due_s:
                    due_s = time_s + self._every_s
                    window = Window(tuple(i for i, _ in seen), seen[0][1], time_s)
                    yield replace(answer, window=window)

    def _keep(self, frame: Frame, *, due: bool = True) -> Image | None:
        if self._on_frame:
            self._on_frame(frame)
        return self.recognizer.prepare(frame.image) if due else None


def _seconds(name: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if not 0 < given <= LONGEST_S:
        raise InputError(f"{name} is {given}; it must be more than 0 and at most {LONGEST_S:g}")
    return given


Item = tuple[int, Image]  # frame index, prepared crop
Clip = tuple[float, list[Item]]  # end of the window in seconds, one item per segment


class _Items(Protocol):
    """What `TimeWindow` and `Newest` offer."""

    def push(self, time_s: float, item: Item) -> None: ...
    def clip(self) -> list[tuple[float, Item]] | None: ...


class _Capture:
    """The thread that reads a live source into a window; its owner gets its exception."""

    def __init__(
        self, source: Source, keep: Callable[[Frame], Image | None], window: _Items
    ) -> None:
        self._source, self._keep, self._window = source, keep, window
        self._changed = threading.Condition()
        self._newest_s, self._ended, self._stopping = 0.0, False, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="edge-tsm capture", daemon=True)

    def __enter__(self) -> _Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._source.close()
        self._thread.join(CLOSE_TIMEOUT_S)

    def wait(self, due_s: float) -> Clip | None:
        """Return the first full window that ends at `due_s` or later; None at the source's end."""
        with self._changed:
            while True:
                clip = self._window.clip() if self._newest_s >= due_s else None
                if clip is not None:
                    return self._newest_s, [item for _, item in clip]
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return None
                self._changed.wait()

    def _read(self) -> None:
        with _Handover(self._end):
            for frame in self._source:
                if self._stopping:
                    return
                crop = self._keep(frame)
                if crop is None:
                    continue
                item = (frame.index, crop)
                with self._changed:
                    self._window.push(frame.time_s, item)
                    self._newest_s = frame.time_s
                    self._changed.notify()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify()


class _Handover:
    """Ends a thread: whatever it raised goes to its owner and not to stderr."""

    def __init__(self, deliver: Callable[[BaseException | None], None]) -> None:
        self._deliver = deliver

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        self._deliver(error)
        return True
