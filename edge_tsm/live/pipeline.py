"""From sources to answers and actions: one per recording, a stream of them from live sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import cast

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Counts, Delay, Prediction, Window
from edge_tsm.errors import InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.assembler import Pace
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.forms import FORMS
from edge_tsm.live.worker import PendingClip, SourceInput, SourceWorker
from edge_tsm.sources import Recording, Source
from edge_tsm.system.clock import Handover
from edge_tsm.system.redact import redact

OnAnswer = Callable[[Prediction], None]
Batch = list[tuple[SourceWorker, PendingClip]]
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
    backwards or a reconnect resets it. Every source has its own state.

    Args:
        sources: what `open_source` returned, objects of your own with that protocol, or
            `SourceInput`s of them.
        recognizer: the model.
        window_s: seconds that the segments, or an online model's `horizon` steps, span; by default
            the card's.
        every_s: seconds between answers of a source; by default the card's.
        capture: deadlines, reconnects, clock.
        rules: turn answers into actions, for each source: every prediction has a decision then, and
            at the end of the sources the last one comes again, with the end of what is still on.

    Raises:
        InputError: seconds out of range, or rules with a label that the model does not have.

    >>> import edge_tsm, edge_tsm.demo
    >>> source = edge_tsm.open_source("test://64x48/10")
    >>> recognizer = edge_tsm.load(edge_tsm.demo.bundle())
    >>> for prediction in Pipeline(source, recognizer, window_s=0.3):
    ...     print(prediction.source, prediction.label in recognizer.card.labels)
    ...     break
    test://64x48/10 True
    """

    def __init__(
        self,
        sources: Source | SourceInput | Sequence[Source | SourceInput],
        recognizer: Recognizer,
        *,
        window_s: float | None = None,
        every_s: float | None = None,
        capture: CaptureOptions | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.recognizer = recognizer
        self._inputs = _inputs(sources)
        self._takes = recognizer.card.input
        card, form = recognizer.card, FORMS[recognizer.runner.form]
        self._pace = Pace(
            _seconds("window_s", window_s, form.default_window_s(card)),
            _seconds("every_s", every_s, card.sampling.every_s),
            aligned=self._takes.shape[0] > 1 and len(self._inputs) > 1,
        )
        self._form = form(recognizer, self._pace)
        self._tracker = ActionTracker(rules, card.labels) if rules else None
        self._options = capture or CaptureOptions()
        self._clock = self._options.clock
        self._changed = self._clock.condition()
        self._workers: list[SourceWorker] = []
        self._closing, self._running, self._turn = False, False, 0
        self._error: BaseException | None = None

    def __iter__(self) -> Generator[Prediction, None, None]:
        """Yield predictions, recordings first, until the sources end or one fails.

        Leaving a loop over it early ends the sources, as `close` does; `finish` then ends actions.

        Raises:
            SourceError: a source is lost for good.
            BackendError: the engine fails.
        """
        for prediction in self._predictions():
            yield self._tracker.update(prediction) if self._tracker else prediction
        yield from self.finish()

    def finish(self) -> Iterator[Prediction]:
        """Yield the last answer of each source again, with the end of the action that is on.

        For runs that were cut short; one that reaches its end yields them itself.
        """
        return self._tracker.finish() if self._tracker else iter(())

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
            Exception: what ended the run before, if nobody has received it.
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
        return [worker.counts() for worker in self._workers]

    def _run(self, on_answer: OnAnswer) -> None:
        with Handover(self._end):
            for prediction in self:
                on_answer(prediction)

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error, self._running = error, False
            self._changed.notify_all()

    def _predictions(self) -> Iterator[Prediction]:
        for given in self._inputs:
            if not given.source.live and not self._closing:
                yield self._recording(given)
        yield from self._live([given for given in self._inputs if given.source.live])

    def _recording(self, given: SourceInput) -> Prediction:
        source = cast("Recording", given.source)
        frames = source.sample(self.recognizer.sample, progress=given.progress)
        crops = {frame.index: self.recognizer.prepare(frame.image) for frame in frames}
        indices = tuple(frame.index for frame in frames)
        window = Window(indices, frames[0].time_s, frames[-1].time_s)
        prediction = self.recognizer.predict([crops[i] for i in indices], window=window)
        return replace(prediction, source=redact(source.uri))

    def _live(self, inputs: Sequence[SourceInput]) -> Iterator[Prediction]:
        self._workers = [self._worker(given) for given in inputs]
        try:
            for worker in self._workers:
                worker.start()
            while batch := self._next_batch():
                yield from self._answer(batch)
        finally:
            until_s = self._clock.now() + CLOSE_TIMEOUT_S
            for worker in self._workers:
                worker.stop()
            for worker in self._workers:
                worker.join(until_s)

    def _worker(self, given: SourceInput) -> SourceWorker:
        return SourceWorker(
            given,
            self._form.assembler(),
            prepare=self.recognizer.prepare,
            options=self._options,
            changed=self._changed,
        )

    def _next_batch(self) -> Batch:
        """Wait for clips, and take a batch of those whose sources waited longest; [] at the end."""
        with self._changed:
            while not self._closing:
                for worker in self._workers:
                    if worker.error is not None:
                        raise worker.error
                ready = [worker for worker in self._workers if worker.pending]
                if not ready and all(worker.ended for worker in self._workers):
                    return []
                left_s = self._left_s(ready)
                if ready and left_s <= 0:
                    return self._take(ready)
                self._changed.wait(left_s if ready else None)
        return []

    def _left_s(self, ready: Sequence[SourceWorker]) -> float:
        """Return how long to wait for more clips, with a batch to fill.

        A graph that takes any number has none to fill: what is ready goes at once, and what comes
        meanwhile goes together after that, so that batches grow with the load.
        """
        alive = sum(not worker.ended or worker.pending is not None for worker in self._workers)
        if not ready or len(ready) >= min(self._takes.shape[0], alive):
            return 0.0
        first_s = min(worker.pending.ready_s for worker in ready if worker.pending)
        # Half of the time in which every source has one more clip.
        linger_s = min(LINGER_S, self._form.period_s / 2)
        return first_s + linger_s - self._clock.now()

    def _take(self, ready: list[SourceWorker]) -> Batch:
        self._turn += 1
        ready.sort(key=lambda worker: worker.turn)
        return [(worker, worker.take(self._turn)) for worker in ready[: self._takes.most]]

    def _answer(self, batch: Batch) -> Iterator[Prediction]:
        started_s = self._clock.now()
        workers = [worker for worker, _ in batch]
        predictions = self._form.answer(workers, [pending.clip for _, pending in batch])
        done_s = self._clock.now()
        for (worker, pending), prediction in zip(batch, predictions, strict=True):
            if prediction is None:
                continue
            worker.answers += 1
            delay = Delay(
                prepare_ms=pending.prepare_ms,
                queue_ms=(started_s - pending.ready_s) * 1000,
                latency_ms=(done_s - pending.captured_s) * 1000,
            )
            stale = done_s - pending.captured_s > self._pace.every_s
            yield replace(prediction, source=worker.uri, delay=delay, stale=stale)


def _inputs(sources: Source | SourceInput | Sequence[Source | SourceInput]) -> list[SourceInput]:
    given = sources if isinstance(sources, (list, tuple)) else [cast("Source", sources)]
    return [one if isinstance(one, SourceInput) else SourceInput(one) for one in given]


def _seconds(name: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if not 0 < given <= LONGEST_S:
        raise InputError(f"{name} is {given}; it must be more than 0 and at most {LONGEST_S:g}")
    return given
