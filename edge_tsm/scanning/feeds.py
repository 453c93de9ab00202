"""How the windows of one recording reach a model: whole clips in any number, or step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from edge_tsm.datatypes import Image, Logits
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.assembler import AssembledClip, Assembler, Pace
from edge_tsm.live.forms import ClipForm, OnlineForm

Answer = tuple[float, Logits]  # where the window ends, in seconds, and (classes,)


class Feed(Protocol):
    """Feeds a recognizer with one recording."""

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None: ...

    def assembler(self) -> Assembler:
        """Return what chooses the windows."""
        ...

    def first(self, clips: Sequence[AssembledClip], known: Sequence[Answer]) -> int:
        """Return where to begin if these answers to the first clips are known."""
        ...

    def answers(self, clips: Iterable[AssembledClip]) -> Iterator[Answer]:
        """Answer pictured clips, in order."""
        ...


class ClipFeed:
    """Every window is answered on its own, as many at a time as the model and engine take."""

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None:
        self._recognizer, self._form, self._pace = recognizer, ClipForm(recognizer, pace), pace

    def assembler(self) -> Assembler:
        """Return what chooses the windows."""
        return self._form.assembler(self._pace)

    def first(self, clips: Sequence[AssembledClip], known: Sequence[Answer]) -> int:
        """Leave out what is known, in whole batches: the same windows meet in one as before."""
        most, pairs = self._recognizer.card.input.most, zip(clips, known, strict=False)
        same = takewhile(lambda pair: pair[0].window.end_s == pair[1][0], pairs)
        return sum(1 for _ in same) // most * most

    def answers(self, clips: Iterable[AssembledClip]) -> Iterator[Answer]:
        """Answer pictured clips, in order."""
        ends = deque[float]()

        def crops() -> Iterator[Sequence[Image]]:
            for clip in clips:
                ends.append(clip.window.end_s)
                yield clip.crops

        for answer in self._recognizer.predict_many(crops()):
            yield ends.popleft(), answer.logits


@dataclass(frozen=True)
class _Recording:
    """What an online form keeps a session for."""

    pace: Pace


class OnlineFeed:
    """Every window is a frame to step on; some steps are answered."""

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None:
        self._form, self._pace = OnlineForm(recognizer, pace), pace

    def assembler(self) -> Assembler:
        """Return what chooses the frames."""
        return self._form.assembler(self._pace)

    def first(self, clips: Sequence[AssembledClip], known: Sequence[Answer]) -> int:
        """Leave out nothing: a state rests on every frame before."""
        return 0

    def answers(self, clips: Iterable[AssembledClip]) -> Iterator[Answer]:
        """Step through pictured clips, and yield the answers that are due."""
        recording = _Recording(self._pace)
        for clip in clips:
            [answer] = self._form.answer([recording], [clip])
            if answer is not None and answer.window is not None:
                yield answer.window.end_s, answer.logits


FEEDS: dict[str, type[Feed]] = {"clip": ClipFeed, "online": OnlineFeed}
