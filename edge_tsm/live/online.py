"""An online model on one live source: every clip is a step, and some steps are answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from edge_tsm.datatypes import Prediction, Window
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.streaming import Stream
from edge_tsm.live.assembler import AssembledClip
from edge_tsm.live.timing import Cadence, StepClock


class OnlineSession:
    """The steps of `stream`, which belongs to this object, for `step_together`.

    A break between clips makes it forget. An answer rests on the last `horizon` steps.
    """

    def __init__(self, stream: Stream, *, horizon: int, fps: float, every_s: float) -> None:
        self.stream, self._clock, self._cadence = stream, StepClock(fps), Cadence(every_s)
        self._seen: deque[Window] = deque(maxlen=horizon)

    def begin(self, clip: AssembledClip) -> None:
        """Forget what was before, if the stream broke before the clip."""
        end_s = clip.window.end_s
        torn = self._seen and not self._clock.continues(self._seen[-1].end_s, end_s)
        if clip.fresh or torn:
            self.stream.reset()
            self._seen.clear()
            self._cadence.restart()

    def end(self, clip: AssembledClip, answer: Prediction) -> Prediction | None:
        """Note the step on the clip's crop; return its answer if one is due."""
        now_s = clip.window.end_s
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


def step_together(
    recognizer: Recognizer, sessions: Sequence[OnlineSession], clips: Sequence[AssembledClip]
) -> list[Prediction | None]:
    """Step several sources, on a clip of one crop each, by `Recognizer.push_many`.

    Returns each one's answer, None where none is due.
    """
    for session, clip in zip(sessions, clips, strict=True):
        session.begin(clip)
    streams = [session.stream for session in sessions]
    answers = recognizer.push_many(streams, [clip.crops[0] for clip in clips])
    return [s.end(c, a) for s, c, a in zip(sessions, clips, answers, strict=True)]
