"""The forms of model, and how each is fed from live sources: whole clips, or frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from edge_tsm.bundle.card import Card, Streaming
from edge_tsm.datatypes import Prediction
from edge_tsm.errors import CardError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.sampling import Sampler
from edge_tsm.live.assembler import AssembledClip, Assembler, ClipAssembler, Pace, StepAssembler
from edge_tsm.live.online import OnlineSession, step_together

# Steps of each thread before all wait for the last: 8 streams two by two take 1.3 to 1.5 times as
# long as all at once, measured.
RUNS_A_TURN = 4


class Paced(Protocol):
    """What is answered for: it has a pace of its own."""

    @property
    def pace(self) -> Pace:
        """When there are answers, and on how many seconds."""
        ...


class Form(Protocol):
    """Feeds one recognizer from live sources.

    `period_s` lies between two clips of a source; `most` clips are answered at a time.
    """

    period_s: float
    most: int

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None: ...

    @staticmethod
    def default_window_s(card: Card) -> float:
        """Return the seconds that a window spans if nobody says otherwise."""
        ...

    @staticmethod
    def fill(recognizer: Recognizer) -> int:
        """Return how many clips of several sources are worth waiting for."""
        ...

    def assembler(self, pace: Pace) -> Assembler:
        """Return what makes clips of one source's frames."""
        ...

    def answer(
        self, workers: Sequence[Paced], clips: Sequence[AssembledClip]
    ) -> list[Prediction | None]:
        """Answer a batch, one clip of each worker; None where no answer is due."""
        ...

    def forget(self, worker: object) -> None:
        """Keep nothing of a worker that is gone."""
        ...


class ClipForm:
    """Every clip is answered on its own."""

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None:
        self._recognizer = recognizer
        self.period_s = pace.every_s
        self.most = recognizer.card.input.most * recognizer.streams

    @staticmethod
    def default_window_s(card: Card) -> float:
        """Return what the card says."""
        return card.sampling.window_s

    @staticmethod
    def fill(recognizer: Recognizer) -> int:
        """Return a fixed graph's clips, times those that the engine works on at once."""
        return recognizer.card.input.shape[0] * recognizer.streams

    def assembler(self, pace: Pace) -> Assembler:
        """Return what takes the card's segments from a window, where its rule has them."""
        sampler = Sampler(self._recognizer.card.sampling)
        return ClipAssembler(sampler.ages(pace.window_s), pace)

    def answer(
        self, workers: Sequence[Paced], clips: Sequence[AssembledClip]
    ) -> list[Prediction | None]:
        """Answer every clip."""
        answers = self._recognizer.predict_many([clip.crops for clip in clips])
        return [replace(a, window=clip.window) for a, clip in zip(answers, clips, strict=True)]

    def forget(self, worker: object) -> None:
        """Nothing is kept."""


class OnlineForm:
    """Every clip is one frame, and a step in the session of its source."""

    def __init__(self, recognizer: Recognizer, pace: Pace) -> None:
        self._recognizer = recognizer
        self._horizon = _streaming(recognizer.card).horizon
        self._sessions: dict[object, OnlineSession] = {}
        self.period_s = pace.window_s / self._horizon
        self.most = recognizer.card.input.most
        if recognizer.streams > 1:
            self.most *= recognizer.streams * RUNS_A_TURN

    @staticmethod
    def default_window_s(card: Card) -> float:
        """Return the seconds that the steps of one answer take."""
        return _streaming(card).horizon / _streaming(card).fps

    @staticmethod
    def fill(recognizer: Recognizer) -> int:
        """Return the streams of a fixed graph; a run beside others needs none to wait for."""
        return recognizer.card.input.shape[0]

    def assembler(self, pace: Pace) -> Assembler:
        """Return what picks the frames to step on."""
        return StepAssembler(self._horizon / pace.window_s)

    def answer(
        self, workers: Sequence[Paced], clips: Sequence[AssembledClip]
    ) -> list[Prediction | None]:
        """Make a step for every worker."""
        return step_together(self._recognizer, [self._session(worker) for worker in workers], clips)

    def forget(self, worker: object) -> None:
        """Drop the session of the worker."""
        self._sessions.pop(worker, None)

    def _session(self, worker: Paced) -> OnlineSession:
        if worker not in self._sessions:
            self._sessions[worker] = OnlineSession(
                self._recognizer.stream(),
                horizon=self._horizon,
                fps=self._horizon / worker.pace.window_s,
                every_s=worker.pace.every_s,
            )
        return self._sessions[worker]


FORMS: dict[str, type[Form]] = {"clip": ClipForm, "online": OnlineForm}


def _streaming(card: Card) -> Streaming:
    if card.streaming is None:
        raise CardError(f"card.streaming is missing, though {card.name} is an online model")
    return card.streaming
