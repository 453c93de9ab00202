"""From sources to answers: one per recording, a stream of them from live sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import cast

from edge_tsm.datatypes import Counts, Delay, Prediction, Window
from edge_tsm.errors import InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.assembler import Assembler, ClipAssembler, Pace, StepAssembler
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.online import Steps, step_together
from edge_tsm.live.worker import Feed, Job, Lane, OnFrame
from edge_tsm.sources import Recording, Source
from edge_tsm.system.clock import Handover
from edge_tsm.system.redact import redact

OnAnswer = Callable[[Prediction], None]
CLOSE_TIMEOUT_S = 0.8
LONGEST_S = 3600.0
LINGER_S = 0.1


class Pipeline:
    """Iterate it for predictions, or `start` it with a callback.

    A recording gives one answer, on the frames that the card's rule chooses. A live source gives
    one every `every_s` seconds of capture time, on the last `window_s` seconds, as soon as these
    hold real frames; a thread reads and another prepares each frame once, so that answers never lag
    behind. Several live sources share the engine in turns, and its batch where the model has one.

    An online model steps on a live frame `horizon` times in `window_s`, and answers from the first
    step on, every `every_s` seconds, on as many steps as its card says. A gap in time, time running
    backwards or a reconnect resets it. Every source has a state of its own.

    Args:
        sources: what `open_source` returned, own objects with that protocol, or `Feed`s of them.
        recognizer: the model.
        window_s: seconds that the segments, or an online model's `horizon` steps, span; by default
            the card's.
        every_s: seconds between answers of a source; by default the card's.
        on_frame: called with every live frame, in a thread of the source; see also `Feed`.
        capture: deadlines, reconnects, clock.
    """

    def __init__(
        self,
        sources: Source | Feed | Sequence[Source | Feed],
        recognizer: Recognizer,
        *,
        window_s: float | None = None,
        every_s: float | None = None,
        on_frame: OnFrame | None = None,
        capture: CaptureOptions | None = None,
    ) -> None:
        self.recognizer = recognizer
        self._feeds = [_feed(given, on_frame) for given in _listed(sources)]
        self._batch = recognizer.card.input.shape[0]
        sampling, self._streaming = recognizer.card.sampling, recognizer.card.streaming
        default_s = sampling.window_s
        if self._streaming:
            default_s = self._streaming.horizon / self._streaming.fps
        self._pace = Pace(
            _seconds("window_s", window_s, default_s),
            _seconds("every_s", every_s, sampling.every_s),
            aligned=self._batch > 1 and len(self._feeds) > 1,
        )
        # A batch waits for half of the time in which every source has one more clip or step.
        step_s = self._pace.window_s / self._streaming.horizon if self._streaming else None
        self._linger_s = min(LINGER_S, (step_s or self._pace.every_s) / 2)
        self._options = capture or CaptureOptions()
        self._clock = self._options.clock
        self._changed = self._clock.condition()
        self._lanes: list[Lane] = []
        self._steps: dict[Lane, Steps] = {}
        self._closing, self._running, self._turn = False, False, 0
        self._error: BaseException | None = None

    def __iter__(self) -> Generator[Prediction, None, None]:
        """Yield predictions, recordings first, until the sources end or one fails.

        Leaving a loop over it early ends the sources, as `close` does.

        Raises:
            SourceError: a source is lost for good.
            BackendError: the engine fails.
        """
        for feed in self._feeds:
            if not feed.source.live and not self._closing:
                yield self._recording(feed)
        yield from self._live([feed for feed in self._feeds if feed.source.live])

    def start(self, on_answer: OnAnswer) -> None:
        """Run in a thread that calls `on_answer` with every prediction; see `wait`, `close`."""
        self._running = True
        self._clock.start(lambda: self._run(on_answer), name="edge-tsm pipeline")

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait for the end of a started run; return whether it has ended.

        Raises:
            Exception: what ended the run, once.
        """
        until_s = self._clock.now() + timeout_s
        with self._changed:
            while self._running and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(None if left_s == math.inf else left_s)
            error, self._error = self._error, None
        if error is not None:
            raise error
        return not self._running

    def close(self) -> None:
        """End it within a second, from any thread; a run that was started is waited for.

        Raises:
            Exception: what ended the run before, if nobody has heard of it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.wait(CLOSE_TIMEOUT_S)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def window_s(self) -> float:
        """Seconds that a live window spans."""
        return self._pace.window_s

    def counts(self) -> list[Counts]:
        """Return what became of each live source so far."""
        return [lane.counts() for lane in self._lanes]

    def _run(self, on_answer: OnAnswer) -> None:
        with Handover(self._end):
            for prediction in self:
                on_answer(prediction)

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._running = error, False
            self._changed.notify_all()

    def _recording(self, feed: Feed) -> Prediction:
        source = cast("Recording", feed.source)
        frames = source.sample(self.recognizer.sample, progress=feed.progress)
        crops = {frame.index: self.recognizer.prepare(frame.image) for frame in frames}
        indices = tuple(frame.index for frame in frames)
        window = Window(indices, frames[0].time_s, frames[-1].time_s)
        prediction = self.recognizer.predict([crops[i] for i in indices], window=window)
        return replace(prediction, source=redact(source.uri))

    def _live(self, feeds: Sequence[Feed]) -> Iterator[Prediction]:
        self._lanes = [self._lane(feed) for feed in feeds]
        try:
            for lane in self._lanes:
                lane.start()
            while jobs := self._next_jobs():
                yield from self._answer(jobs)
        finally:
            until_s = self._clock.now() + CLOSE_TIMEOUT_S
            for lane in self._lanes:
                lane.stop()
            for lane in self._lanes:
                lane.join(until_s)

    def _lane(self, feed: Feed) -> Lane:
        lane = Lane(
            feed,
            self._assembler(),
            prepare=self.recognizer.prepare,
            options=self._options,
            changed=self._changed,
        )
        if self._streaming:
            self._steps[lane] = Steps(
                self.recognizer.stream(),
                horizon=self._streaming.horizon,
                fps=self._streaming.horizon / self._pace.window_s,
                every_s=self._pace.every_s,
            )
        return lane

    def _assembler(self) -> Assembler:
        if self._streaming:
            return StepAssembler(self._streaming.horizon / self._pace.window_s)
        return ClipAssembler(self.recognizer.card.sampling.segments, self._pace)

    def _next_jobs(self) -> list[tuple[Lane, Job]]:
        """Wait for clips, and take a batch of those whose sources waited longest; [] at the end."""
        with self._changed:
            while not self._closing:
                for lane in self._lanes:
                    if lane.error is not None:
                        raise lane.error
                ready = [lane for lane in self._lanes if lane.job]
                if not ready and all(lane.ended for lane in self._lanes):
                    return []
                left_s = self._left_s(ready)
                if ready and left_s <= 0:
                    return self._take(ready)
                self._changed.wait(left_s if ready else None)
        return []

    def _left_s(self, ready: Sequence[Lane]) -> float:
        """Return how long to wait for more clips, with a batch to fill."""
        alive = sum(not lane.ended or lane.job is not None for lane in self._lanes)
        if not ready or len(ready) >= min(self._batch, alive):
            return 0.0
        first_s = min(lane.job.ready_s for lane in ready if lane.job)
        return first_s + self._linger_s - self._clock.now()

    def _take(self, ready: list[Lane]) -> list[tuple[Lane, Job]]:
        self._turn += 1
        ready.sort(key=lambda lane: lane.turn)
        return [(lane, lane.take(self._turn)) for lane in ready[: self._batch]]

    def _answer(self, jobs: Sequence[tuple[Lane, Job]]) -> Iterator[Prediction]:
        started_s = self._clock.now()
        predictions = self._predict(jobs)
        done_s = self._clock.now()
        for (lane, job), prediction in zip(jobs, predictions, strict=True):
            if prediction is None:
                continue
            lane.answers += 1
            delay = Delay(
                prepare_ms=job.prepare_ms,
                queue_ms=(started_s - job.ready_s) * 1000,
                latency_ms=(done_s - job.captured_s) * 1000,
            )
            stale = done_s - job.captured_s > self._pace.every_s
            yield replace(prediction, source=lane.uri, delay=delay, stale=stale)

    def _predict(self, jobs: Sequence[tuple[Lane, Job]]) -> list[Prediction | None]:
        """Return the answer to each job, None where an online model made a step only."""
        if self._streaming:
            steps = [self._steps[lane] for lane, _ in jobs]
            return step_together(steps, [job.clip for _, job in jobs])
        answers = self.recognizer.predict_many([job.clip.crops for _, job in jobs])
        return [
            replace(a, window=job.clip.window) for a, (_, job) in zip(answers, jobs, strict=True)
        ]


def _listed(sources: Source | Feed | Sequence[Source | Feed]) -> Sequence[Source | Feed]:
    return list(sources) if isinstance(sources, (list, tuple)) else [cast("Source", sources)]


def _feed(given: Source | Feed, on_frame: OnFrame | None) -> Feed:
    return given if isinstance(given, Feed) else Feed(given, on_frame)


def _seconds(name: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if not 0 < given <= LONGEST_S:
        raise InputError(f"{name} is {given}; it must be more than 0 and at most {LONGEST_S:g}")
    return given
