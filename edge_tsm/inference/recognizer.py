"""Frames in, `Prediction` out: no threads, no files."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice

import numpy as np

from edge_tsm.backends import Backend
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Color, Image, Prediction, Tensor, Window
from edge_tsm.errors import EdgeTsmError, InputError
from edge_tsm.inference.postprocess import check_finite, probabilities
from edge_tsm.inference.preprocess import Preprocessor, check_crops
from edge_tsm.inference.runner import runner_of
from edge_tsm.inference.sampling import Sampler
from edge_tsm.inference.streaming import Stream, push_together
from edge_tsm.inference.variants import Variant


class Recognizer:
    """A video classifier ready to answer, built from a card and an opened backend.

    `recognizer(frames)` samples, prepares and classifies one clip. Live code prepares each frame
    once with `prepare` and classifies windows of prepared crops with `predict`, or, with an online
    model, pushes every crop into a `stream`. `variant` is the artifact of a bundle that answers,
    None where a single file was loaded; `runner` knows whether the model takes clips or frames.

    >>> import numpy as np
    >>> from edge_tsm import demo, load
    >>> with load(demo.bundle()) as recognizer:
    ...     prediction = recognizer([np.zeros((240, 320, 3), np.uint8)] * 10)
    >>> prediction.label in recognizer.card.labels
    True
    """

    def __init__(self, card: Card, backend: Backend, variant: Variant | None = None) -> None:
        self.card = card
        self.backend = backend
        self.variant = variant
        self._sampler = Sampler(card.sampling)
        self._preprocess = Preprocessor(card.preprocess)
        self.runner = runner_of(card, backend, self._preprocess)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __call__(
        self, frames: Sequence[Image], *, color: Color = "bgr", fps: float | None = None
    ) -> Prediction:
        """Classify one clip of any length.

        Args:
            frames: (H, W, 3) uint8 pictures in time order, all of the clip; the card's rule
                chooses among them.
            color: their channel order; OpenCV delivers "bgr", PIL "rgb".
            fps: frames a second, for models that take frames at an interval of time; without it
                they are taken for those of the rate that the card names.

        Raises:
            InputError: no frames, or arrays that are not pictures.
        """
        if len(frames) == 0:
            raise InputError("no frames to classify; a clip needs at least one")
        indices = self.sample(len(frames), fps)
        crops = {i: self.prepare(frames[i], color=color) for i in set(indices)}
        return self.predict([crops[i] for i in indices])

    def sample(self, frame_count: int, fps: float | None = None) -> list[int]:
        """Return the indices, 0-based, of the frames to show of a clip of `frame_count` frames.

        `fps` is the clip's rate if it is known; see `__call__`.
        """
        return self._sampler(frame_count, fps)

    def prepare(self, image: Image, *, color: Color = "bgr") -> Image:
        """Return the crop of one picture as the model wants it; see `Preprocessor.crop`."""
        return self._preprocess.crop(image, color=color)

    def predict(self, crops: Sequence[Image], *, window: Window | None = None) -> Prediction:
        """Classify one clip of exactly T prepared crops, each (crop_px, crop_px, 3) uint8.

        Raises:
            InputError: other crops.
            AnswerError: the engine answers NaN or infinity.
        """
        return replace(next(self.predict_many([crops])), window=window)

    def predict_many(self, clips: Iterable[Sequence[Image]]) -> Iterator[Prediction]:
        """Classify clips of T prepared crops each, as many at a time as `card.input.most`.

        Where the backend works on several batches at once, it gets them from threads; the answers
        come in the order of the clips, a few clips later.
        """
        most, clips = self.card.input.most, iter(clips)
        batches = iter(lambda: list(islice(clips, most)), [])
        if self.streams == 1:
            for batch in batches:
                yield from self._run(batch)
            return
        pool = self._workers()
        running: deque[Future[list[Prediction]]] = deque()
        for batch in batches:
            running.append(pool.submit(self._run, batch))
            if len(running) > self.streams:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()

    def push_many(self, streams: Sequence[Stream], crops: Sequence[Image]) -> list[Prediction]:
        """Step any number of this model's streams once, on one crop each, and answer each.

        One run of the engine takes as many as the model does, and where the backend works on
        several runs at once, it gets them from threads. Each stream is answered as by its own
        `push`. If a run fails, the others have stepped on all the same.

        Raises:
            InputError: a stream twice, not a crop for each, or no crops as `prepare` makes them.
            AnswerError: the engine answers NaN or infinity.
        """
        if len(set(map(id, streams))) < len(streams) or len(crops) != len(streams):
            raise InputError(f"a step is one crop for each of several streams; got {len(crops)}")
        groups = self._groups(streams, crops)
        runs = [Future[list[Prediction]]() for _ in groups]
        waiting = iter(list(zip(runs, groups, strict=True)))

        def work() -> None:  # a step is so short that handing over each one would show
            for run, group in waiting:
                try:
                    run.set_result(push_together(*group))
                except EdgeTsmError as error:
                    run.set_exception(error)

        helpers = [self._workers().submit(work) for _ in range(min(self.streams, len(groups)) - 1)]
        try:
            work()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()
        return [answer for run in runs for answer in run.result()]

    @property
    def streams(self) -> int:
        """How many batches the backend works on at once."""
        return int(getattr(self.backend, "streams", 1))

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.streams, thread_name_prefix="edge-tsm engine")
            return self._pool

    def _groups(
        self, streams: Sequence[Stream], crops: Sequence[Image]
    ) -> list[tuple[Sequence[Stream], Sequence[Image]]]:
        """Return streams and crops by runs; a graph of any batch leaves a share for every run."""
        rows = self.card.input.most
        if self.card.input.dynamic_batch:
            rows = min(rows, -(-len(streams) // self.streams) or 1)
        starts = range(0, len(streams), rows)
        return [(streams[start : start + rows], crops[start : start + rows]) for start in starts]

    def stream(self) -> Stream:
        """Return a new video stream, to be pushed frame by frame, through an online model.

        Raises:
            InputError: the model answers clips.
        """
        return self.runner.stream()

    def close(self) -> None:
        """Release the engine."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self.backend.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tensor(self, crops: Sequence[Image]) -> Tensor:
        check_crops(crops, self.card.sampling.segments, self.card.preprocess.crop_px)
        return self._preprocess.tensor(crops)

    def _run(self, clips: Sequence[Sequence[Image]]) -> list[Prediction]:
        """Run one batch; for a static graph a short one is filled by repeating the last clip."""
        batch = [self._tensor(clip) for clip in clips]
        filled = batch + batch[-1:] * (self.card.input.rows(len(batch)) - len(batch))
        tensor = np.stack(filled) if len(filled) > 1 else filled[0][None]
        started = time.perf_counter()
        logits = self.runner.answer(tensor)[: len(batch)]
        elapsed_ms = (time.perf_counter() - started) * 1000
        activation = self.card.output.activation
        file = self.variant.file.path if self.variant else self.card.name
        check_finite(logits, f"{file} on {self.backend.engine} {self.backend.device}")
        return [
            Prediction(self.card.labels, row, p, elapsed_ms, activation=activation)
            for row, p in zip(logits, probabilities(logits, activation), strict=True)
        ]
