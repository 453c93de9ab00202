"""Online models, step by step: state is a value that goes in and comes out by name."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_tsm.backends import Backend
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Image, Logits, Prediction, Tensor
from edge_tsm.errors import AnswerError, CardError, InputError
from edge_tsm.inference.postprocess import check_finite, probabilities, read_logits
from edge_tsm.inference.preprocess import Preprocessor, check_crops

State = Mapping[str, Tensor]  # by input name


def fresh_state(card: Card, rows: int | None = None) -> State:
    """Return the state before the first frame: zeros, as beyond a clip's first frame in training.

    `rows` is the number of videos, by default that of the card.

    Upstream's demo starts from uninitialized memory and never resets.
    """
    shapes = {cache.input: (rows or cache.shape[0], *cache.shape[1:]) for cache in card.state}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def feed(card: Card, frames: Tensor, state: State) -> dict[str, Tensor]:
    """Return the inputs of one step on (N, 3, H, W) frames."""
    return {card.input.name: frames, **state}


def next_state(card: Card, outputs: Mapping[str, Tensor]) -> State:
    """Return the state that a step leaves: the arrays that the engine handed out, not copied.

    Feeding them in and handing them out takes at most 2.4 % of a step on ONNX Runtime, measured
    (benchmarks/online.py): less than would pay for I/O binding.

    Raises:
        CardError: the model does not return what the card says.
    """
    missing = [cache.output for cache in card.state if cache.output not in outputs]
    if missing:
        raise CardError(f"card.state names {missing[0]}, which the model does not return")
    return {cache.input: outputs[cache.output] for cache in card.state}


def chain(
    card: Card, backend: Backend, clips: Tensor
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Step through (N, T*3, H, W) clips from a fresh state; yield each step's inputs and outputs.

    N is as `card.input.rows` says. The inputs serve calibration, which needs states as they occur.
    """
    state = fresh_state(card, len(clips))
    for start in range(0, clips.shape[1], 3):
        inputs = feed(card, np.ascontiguousarray(clips[:, start : start + 3]), state)
        outputs = backend.run(inputs)
        state = next_state(card, outputs)
        yield inputs, outputs


@dataclass
class _Place:
    """One video of a stream: its caches, (1, ...) each, and the logits of its last steps."""

    state: State
    logits: deque[Logits]

    def forget(self) -> None:
        """Return to the state before the first frame."""
        self.state = {name: np.zeros_like(cache) for name, cache in self.state.items()}
        self.logits.clear()


class Stream:
    """One video stream, or N in step for a card of batch size N, through an online model.

    Every push is one step and one answer: logits averaged over the last `horizon` steps, fewer
    after a start or reset. `recognizer.stream()` makes one; streams of one recognizer share its
    engine, and nothing else: each may be pushed from a thread of its own, by one thread at a time.
    `Recognizer.push_many` steps several, `push_together` in one run of the engine.

    >>> from edge_tsm import demo, load
    >>> with load(demo.bundle("online")) as recognizer:
    ...     stream = recognizer.stream()
    ...     crop = recognizer.prepare(np.zeros((240, 320, 3), np.uint8))
    ...     answers = [stream.push(crop) for _ in range(3)]
    >>> answers[-1].label in recognizer.card.labels
    True
    """

    def __init__(
        self, card: Card, backend: Backend, preprocess: Preprocessor, *, horizon: int
    ) -> None:
        self.card = card
        self._backend, self._preprocess = backend, preprocess
        fresh = _places(fresh_state(card))
        self._videos = [_Place(state, deque(maxlen=horizon)) for state in fresh]

    def push(self, crop: Image) -> Prediction:
        """Step on one prepared crop, (crop_px, crop_px, 3) uint8, as `Recognizer.prepare` makes."""
        return self.push_all([crop])[0]

    def push_all(self, crops: Sequence[Image]) -> list[Prediction]:
        """Step on one crop per stream, and answer each; places without a crop stand still.

        Raises:
            InputError: no crops, more than the batch size, or not as `prepare` makes them.
        """
        return self._step(self._videos[: len(crops)], crops)

    @property
    def logits(self) -> Logits:
        """The newest step's own logits, (N, classes), not averaged.

        Raises:
            InputError: a place had no step yet.
        """
        if not all(video.logits for video in self._videos):
            raise InputError("no frame was pushed yet")
        return np.stack([video.logits[-1] for video in self._videos])

    def reset(self, place: int | None = None) -> None:
        """Forget all frames, or those of one of N streams: after a gap, a reconnect or a seek."""
        for index in range(len(self._videos)) if place is None else [place]:
            self._videos[index].forget()

    def _step(self, videos: Sequence[_Place], crops: Sequence[Image]) -> list[Prediction]:
        """Step so many videos, of this stream or others of its recognizer, and answer each."""
        takes = self.card.input
        if not 1 <= len(crops) <= takes.most or len(crops) > len(videos):
            most = min(takes.most, len(videos)) if takes.dynamic_batch else takes.most
            raise InputError(f"this model steps {most} streams at a time, not {len(crops)}")
        check_crops(crops, len(crops), self.card.preprocess.crop_px)
        rows = takes.rows(len(crops))
        spare = rows - len(crops)  # places of the graph that repeat the last video
        frames = self._preprocess.tensor([*crops, *[crops[-1]] * spare])
        state = _joined([*videos, *[videos[-1]] * spare])
        started = time.perf_counter()
        shape = (rows, *takes.shape[1:])
        outputs = self._backend.run(feed(self.card, frames.reshape(shape), state))
        elapsed_ms = (time.perf_counter() - started) * 1000
        logits = read_logits(self.card, outputs, rows)
        states = _places(next_state(self.card, outputs))
        self._check(videos, logits)
        for video, row, after in zip(videos, logits, states, strict=False):
            video.logits.append(row)
            video.state = after
        means = (np.mean(video.logits, axis=0) for video in videos)
        activation = self.card.output.activation
        return [
            Prediction(
                self.card.labels, m, probabilities(m, activation), elapsed_ms, activation=activation
            )
            for m in means
        ]

    def _check(self, videos: Sequence[_Place], rows: Logits) -> None:
        """Refuse logits that are no answer, and forget what led to them: a state keeps a NaN.

        Raises:
            AnswerError: NaN or infinity among them.
        """
        try:
            backend = self._backend
            check_finite(
                rows[: len(videos)], f"{self.card.name} on {backend.engine} {backend.device}"
            )
        except AnswerError:
            for video in videos:
                video.forget()
            raise


def push_together(streams: Sequence[Stream], crops: Sequence[Image]) -> list[Prediction]:
    """Step the first place of several streams of one recognizer in one run, on one crop each.

    Raises:
        InputError: more streams than the batch size.
    """
    return streams[0]._step([stream._videos[0] for stream in streams], crops)


def _places(state: State) -> list[State]:
    """Return the state of each place of a batch: views, (1, ...) each."""
    count = len(next(iter(state.values())))
    return [{name: cache[i : i + 1] for name, cache in state.items()} for i in range(count)]


def _joined(videos: Sequence[_Place]) -> State:
    """Return the states as one batch; that of a single video is not copied."""
    if len(videos) == 1:
        return videos[0].state
    names = videos[0].state
    return {name: np.concatenate([video.state[name] for video in videos]) for name in names}
