"""How a model is run: on whole clips, or online, frame by frame with state. Decided here, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import numpy as np

from edge_tsm.backends import Backend
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Logits, Tensor
from edge_tsm.errors import InputError
from edge_tsm.inference.postprocess import read_logits
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.streaming import Stream, chain

Form = Literal["clip", "online"]


class Runner(Protocol):
    """A model that answers clips, (N, T*3, H, W) float32, N as `card.input.rows` says."""

    @property
    def form(self) -> Form:
        """What the model takes at a time: clips, or, online, single frames."""
        ...

    def answer(self, clips: Tensor) -> Logits:
        """Return the logits of each clip, (N, classes)."""
        ...

    def logits(self, clips: Tensor) -> Logits:
        """Return all that is answered to clips: (N, classes), online (N, T, classes)."""
        ...

    def inputs(self, clips: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield the input tensors, by name, of each run that clips take."""
        ...

    def stream(self) -> Stream:
        """Return a new video stream.

        Raises:
            InputError: the model answers clips.
        """
        ...


class ClipRunner:
    """A model that sees all frames of a clip at once."""

    form: Form = "clip"

    def __init__(self, card: Card, backend: Backend) -> None:
        self._card, self._backend = card, backend

    def answer(self, clips: Tensor) -> Logits:
        """Return the logits of each clip, (N, classes)."""
        [inputs] = self.inputs(clips)
        return read_logits(self._card, self._backend.run(inputs), len(clips))

    logits = answer

    def inputs(self, clips: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield the one input tensor."""
        yield {self._card.input.name: clips}

    def stream(self) -> Stream:
        """Refuse: single frames tell this model nothing.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self._card.name} answers clips, not single frames; convert it --online")


class OnlineRunner:
    """A model that sees one frame at a time; every clip starts from a fresh state."""

    form: Form = "online"

    def __init__(
        self, card: Card, backend: Backend, preprocess: Preprocessor, *, horizon: int
    ) -> None:
        self._card, self._backend = card, backend
        self._preprocess, self._horizon = preprocess, horizon

    def answer(self, clips: Tensor) -> Logits:
        """Return the logits of each clip, (N, classes): the mean over its frames.

        That is what the clip form of the network answers.
        """
        return np.asarray(self.logits(clips).mean(axis=1), np.float32)

    def logits(self, clips: Tensor) -> Logits:
        """Return the logits of every frame, (N, T, classes)."""
        steps = chain(self._card, self._backend, clips)
        return np.stack(
            [read_logits(self._card, outputs, len(clips)) for _, outputs in steps], axis=1
        )

    def inputs(self, clips: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield frame and state of each step; the model runs, as its states occur."""
        return (inputs for inputs, _ in chain(self._card, self._backend, clips))

    def stream(self) -> Stream:
        """Return a new video stream, or N in step for a batch size of N."""
        return Stream(self._card, self._backend, self._preprocess, horizon=self._horizon)


def runner_of(card: Card, backend: Backend, preprocess: Preprocessor | None = None) -> Runner:
    """Return what runs the model of a card on an opened backend; streams use `preprocess`."""
    if card.streaming is None:
        return ClipRunner(card, backend)
    preprocess = preprocess or Preprocessor(card.preprocess)
    return OnlineRunner(card, backend, preprocess, horizon=card.streaming.horizon)
