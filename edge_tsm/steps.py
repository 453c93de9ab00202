"""An online model on one live source: every clip is a step, and some steps are answered."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from edge_tsm.datatypes import Prediction, Window
from edge_tsm.sampling import Cadence, StepClock
from edge_tsm.stream import Stream
from edge_tsm.windows import Clip


class Steps:
    """Pushes clips of one crop into `stream`; a break in them makes it forget.

    The stream is this object's own. An answer rests on the last `horizon` steps.
    """

    def __init__(self, stream: Stream, *, horizon: int, fps: float, every_s: float) -> None:
        self._stream, self._clock, self._cadence = stream, StepClock(fps), Cadence(every_s)
        self._seen: deque[Window] = deque(maxlen=horizon)

    def step(self, clip: Clip) -> Prediction | None:
        """Step on the clip's crop; return an answer if one is due."""
        now_s = clip.window.end_s
        torn = self._seen and not self._clock.continues(self._seen[-1].end_s, now_s)
        if clip.fresh or torn:
            self._stream.reset()
            self._seen.clear()
            self._cadence.restart()
        answer = self._stream.push(clip.crops[0])
        self._seen.append(clip.window)
        if not self._cadence.is_due(now_s):
            return None
        self._cadence.answer(now_s)
        return replace(answer, window=self._window(now_s))

    def _window(self, end_s: float) -> Window:
        return Window(
            frames=tuple(step.frames[0] for step in self._seen),
            start_s=self._seen[0].start_s,
            end_s=end_s,
            ages_s=tuple(end_s - step.end_s for step in self._seen),
            dropped=sum(step.dropped for step in self._seen),
        )
