"""From sources to answers and actions: one per recording, a stream of them from live sources."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import cast

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Counts, Delay, Prediction, Window
from edge_tsm.errors import AnswerError, InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.assembler import AssembledClip, Pace, seconds
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.forms import FORMS
from edge_tsm.live.lifecycle import LifeCycle, OnError, stop_at_exit
from edge_tsm.live.scheduler import Batch, Scheduler
from edge_tsm.live.worker import SourceInput, SourceWorker
from edge_tsm.sources import Recording, Source, rate_of, remark
from edge_tsm.sources.names import source_ids
from edge_tsm.system.clock import SystemClock
from edge_tsm.system.redact import redact

OnAnswer = Callable[[Prediction], None]
CLOSE_TIMEOUT_S = 0.8
MOST_UNANSWERED = 10

_log = logging.getLogger(__name__)


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
            `SourceInput`s of them, which may name them.
        recognizer: the model.
        window_s: seconds that the segments, or an online model's `horizon` steps, span; by default
            the card's.
        every_s: seconds between answers of a source; by default the card's.
        capture: deadlines, reconnects, clock.
        rules: turn answers into actions, for each source: every prediction has a decision then, and
            at the end of the sources the last one comes again, with the end of what is still on.

    Raises:
        InputError: seconds out of range, rules with a label that the model does not have, or a
            name that is no id or not unique.

    >>> import edge_tsm, edge_tsm.demo
    >>> source = edge_tsm.open_source("test://64x48/10")
    >>> recognizer = edge_tsm.load(edge_tsm.demo.bundle())
    >>> for prediction in Pipeline(SourceInput(source, name="hall"), recognizer, window_s=0.3):
    ...     print(prediction.source, prediction.address)
    ...     break
    hall test://64x48/10
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
        card, form = recognizer.card, FORMS[recognizer.runner.form]
        self._pace = Pace(
            seconds("window_s", window_s, form.default_window_s(card)),
            seconds("every_s", every_s, card.sampling.every_s),
            aligned=form.fill(recognizer) > 1 and len(self._inputs) > 1,
        )
        self._form = form(recognizer, self._pace)
        self._options = capture or CaptureOptions()
        self._clock = self._options.clock
        own: dict[str | None, Rules] = {
            name: given.rules for name, given in self._inputs.items() if given.rules
        }
        if rules is None and own:
            raise InputError("a source has rules of its own; pass rules for the others too")
        clock = self._clock
        self._tracker = ActionTracker(rules, card.labels, clock=clock, own=own) if rules else None
        self._changed = self._clock.condition()
        self._life = LifeCycle(self._changed, self._clock)
        self._scheduler = Scheduler(
            self._changed,
            self._clock,
            fill=form.fill(recognizer),
            most=self._form.most,
            period_s=self._form.period_s,
            gap_s=rules.gap_s if rules else math.inf,
        )
        self._leaving: list[SourceWorker] = []
        self._is_live = False
        self._unanswered = 0  # runs of the engine in a row

    def _known(self, name: str) -> str:
        if name not in self._inputs:
            known = ", ".join(self._inputs) or "none"
            raise InputError(f"no source is called {name!r}; there are: {known}")
        return name

    def _take_rules(self, name: str, given: SourceInput) -> None:
        """Note the rules of a source that is added."""
        if self._tracker is not None:
            self._tracker.rule(name, given.rules)
        elif given.rules is not None:
            raise InputError(f"{name} has rules of its own; the pipeline has none for the others")

    def _pace_of(self, given: SourceInput) -> Pace:
        """Return the pace of a source, which is the pipeline's where it has none of its own."""
        return replace(
            self._pace,
            window_s=seconds("window_s", given.window_s, self._pace.window_s),
            every_s=seconds("every_s", given.every_s, self._pace.every_s),
        )

    def __iter__(self) -> Generator[Prediction, None, None]:
        """Yield predictions, recordings first, until the sources end or one fails.

        Leaving a loop over it early ends the sources, as `close` does; `finish` then ends actions.

        Raises:
            InputError: it runs already, or is closed.
            SourceError: a source is lost for good.
            BackendError: the engine fails, or `MOST_UNANSWERED` times in a row its answer to a live
                source is none (NaN or infinity); of fewer the first is logged.
        """
        self._begin(threaded=False)
        return self._answers()

    def aiter(self) -> AsyncGenerator[Prediction, None]:
        """Return the predictions as an asynchronous iterator, for `async for`; see `__iter__`.

        The sources are read in threads, and a prediction waits until the loop takes it: meanwhile
        the newest clip of each source wins, as with a slow `for` loop. Nothing else is dropped.
        Cancelling the task, and `aclose`, close the pipeline. After a `break` use
        `contextlib.aclosing`, or Python closes it when the event loop ends.
        """
        from edge_tsm.live.asynchronous import answers_of  # asyncio is slow to import

        self._begin(threaded=False)  # what awaits the answers waits for the thread
        return answers_of(self._answers, self.stop, self._clock)

    def finish(self) -> Iterator[Prediction]:
        """Yield the last answer of each source again, with the end of the action that is on.

        For runs that were cut short; one that reaches its end yields them itself.
        """
        return self._tracker.finish() if self._tracker else iter(())

    def start(self, on_answer: OnAnswer, *, on_error: OnError | None = None) -> None:
        """Run in a thread that calls `on_answer` with every prediction; see `wait`, `close`.

        What ends the run early, as an exception of `on_answer`, is logged at once at level ERROR,
        handed to `on_error` in that thread, and raised by `wait`.

        Raises:
            InputError: it runs already, or is closed.
        """
        self._begin(threaded=True)
        self._clock.start(lambda: self._run(on_answer, on_error), name="edge-tsm pipeline")

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait for the end of a started run; return whether it has ended.

        Raises:
            InputError: in a callback of the pipeline, which would wait for itself.
            Exception: what ended the run.
        """
        if self._is_own_thread():
            raise InputError("a callback of the pipeline cannot wait for its end; call stop")
        return self._life.wait(timeout_s)

    def stop(self) -> None:
        """Ask for the end, from any thread, and do not wait for it."""
        with self._changed:
            self._life.ask_to_close()
            self._scheduler.close()
            workers = [*self._scheduler.workers, *self._leaving]
        for worker in workers:
            worker.stop()

    def close(self) -> bool:
        """End it, from any thread, and wait up to a second; return whether all of it has ended.

        False: a thread of it still is in a library or in a callback, as it is when a callback
        calls this, and ends when it returns.

        Raises:
            Exception: what ended the run before, if neither `wait` nor `on_error` has told of it.
        """
        self.stop()
        is_own = self._is_own_thread()
        ended = not is_own and self._join()
        if not (ended or is_own):
            _log.error("the pipeline has not ended yet: a read, the engine or a callback hangs")
        self._life.raise_untold()
        return ended

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, source: Source | SourceInput) -> str:
        """Add a live source, also while it runs; return its id.

        Raises:
            InputError: the pipeline is closed, the name is taken or no id, or the source is a
                recording and the pipeline runs.

        >>> import edge_tsm, edge_tsm.demo
        >>> pipeline = edge_tsm.Pipeline([], edge_tsm.load(edge_tsm.demo.bundle()))
        >>> pipeline.add(SourceInput(edge_tsm.open_source("test://64x48/10"), name="hall"))
        'hall'
        >>> pipeline.remove("hall")
        """
        given = source if isinstance(source, SourceInput) else SourceInput(source)
        with self._changed:
            if self._life.phase in ("closing", "closed"):
                raise InputError("this pipeline is closed; no source can be added")
            if self._life.phase == "running" and not given.source.live:
                raise InputError(f"{redact(given.source.uri)} is a recording; add it before a run")
            free = (str(i) for i in count() if str(i) not in self._inputs)
            name = source_ids([*self._inputs, given.name or next(free)])[-1]
            self._take_rules(name, given)
            self._inputs[name] = given
            if self._is_live:
                self._scheduler.add(self._worker(name, given))
        return name

    def remove(self, name: str) -> None:
        """Take a source out, also while it runs, and close it; its action ends.

        A pipeline whose last source was removed waits for another one.

        Raises:
            InputError: there is none of that name.
        """
        with self._changed:
            given = self._inputs.pop(self._known(name))
            worker = self._scheduler.remove(name) if self._is_live and given.source.live else None
            self._leaving = [other for other in self._leaving if not other.ended]
            self._leaving += [worker] if worker else []
        if worker:
            worker.stop()

    def change_rules(self, rules: Rules, own: Mapping[str, Rules] | None = None) -> None:
        """Decide by other rules, also while it runs; `own` are those of single sources.

        They hold from the next answer of each source on; see `ActionTracker.change`.

        Raises:
            InputError: there are no rules to be changed, or a label that the model does not have.
        """
        if self._tracker is None:
            raise InputError("the pipeline has no rules; pass some when it is made")
        self._tracker.change(rules, dict[str | None, Rules]((own or {}).items()))

    @property
    def window_s(self) -> float:
        """Seconds that a live window spans."""
        return self._pace.window_s

    @property
    def sources(self) -> tuple[str, ...]:
        """The ids of the sources that there are now."""
        return tuple(self._inputs)

    def pace_of(self, name: str) -> Pace:
        """Return the seconds of a source's windows and answers.

        Raises:
            InputError: there is none of that name.
        """
        with self._changed:
            return self._pace_of(self._inputs[self._known(name)])

    def counts(self) -> list[Counts]:
        """Return what became of each live source so far."""
        return self._scheduler.counts()

    def heartbeat(self) -> float:
        """Return the clock's time at which the loop that answers turned last, and let it turn.

        It turns between answers: not while the engine works, nor while an answer is being taken.
        """
        return self._scheduler.heartbeat()

    def _begin(self, *, threaded: bool) -> None:
        self._life.begin(threaded=threaded)
        if isinstance(self._clock, SystemClock):
            stop_at_exit(self)

    def _run(self, on_answer: OnAnswer, on_error: OnError | None) -> None:
        self._life.enter()
        try:
            with closing(self._answers(ends=False)) as answers:
                for prediction in answers:
                    on_answer(prediction)
        except BaseException as error:  # noqa: BLE001, it is logged, told and raised by `wait`
            self._life.fail(error, on_error)
        finally:
            self._life.end()

    def _answers(self, *, ends: bool = True) -> Generator[Prediction, None, None]:
        """Yield every prediction; the run `ends` with them, or the caller ends it."""
        try:
            yield from self._predictions()
            yield from self.finish()
        finally:
            if ends:
                self._life.end()

    def _is_own_thread(self) -> bool:
        with self._changed:
            workers = [*self._scheduler.workers, *self._leaving]
        own = {self._life.thread_id, *(worker.thread_id for worker in workers)}
        return threading.get_ident() in own

    def _join(self) -> bool:
        """Wait a while for every thread; return whether they have ended."""
        until_s = self._clock.now() + CLOSE_TIMEOUT_S
        ended = self._join_workers(until_s)
        return self._life.wait_quietly(max(until_s - self._clock.now(), 0.0)) and ended

    def _join_workers(self, until_s: float) -> bool:
        with self._changed:
            workers = [*self._scheduler.workers, *self._leaving]
        return all([worker.join(until_s) for worker in workers])

    def _decided(self, prediction: Prediction) -> Prediction:
        return self._tracker.update(prediction) if self._tracker else prediction

    def _predictions(self) -> Iterator[Prediction]:
        for name, given in list(self._inputs.items()):
            if not given.source.live and self._life.phase == "running":
                yield self._decided(self._recording(name, given))
        yield from self._live()

    def _recording(self, name: str, given: SourceInput) -> Prediction:
        source = cast("Recording", given.source)
        rate = rate_of(source)
        frames = source.sample(
            lambda count: self.recognizer.sample(count, rate), progress=given.progress
        )
        if said := remark(source):
            _log.warning("%s: %s", redact(source.uri), said)
        crops = {frame.index: self.recognizer.prepare(frame.image) for frame in frames}
        indices = tuple(frame.index for frame in frames)
        window = Window(indices, frames[0].time_s, frames[-1].time_s)
        prediction = self.recognizer.predict([crops[i] for i in indices], window=window)
        return replace(prediction, source=name, address=redact(source.uri))

    def _live(self) -> Iterator[Prediction]:
        try:
            self._start_workers()
            while (turn := self._scheduler.next(self._options.required)) is not None:
                for worker in turn.removed:
                    self._form.forget(worker)
                for name in turn.quiet:
                    yield from self._tracker.end(name) if self._tracker else ()
                if turn.batch:
                    yield from self._answer(turn.batch)
        finally:
            for worker in self._scheduler.workers:
                worker.stop()
            self._join_workers(self._clock.now() + CLOSE_TIMEOUT_S)

    def _start_workers(self) -> None:
        with self._changed:
            self._is_live = True
            for name, given in self._inputs.items():
                if given.source.live:
                    self._scheduler.add(self._worker(name, given))

    def _worker(self, name: str, given: SourceInput) -> SourceWorker:
        pace = self._pace_of(given)
        return SourceWorker(
            replace(given, name=name),
            self._form.assembler(pace),
            pace=pace,
            prepare=self.recognizer.prepare,
            options=self._options,
            changed=self._changed,
        )

    def _attempted(
        self, workers: Sequence[SourceWorker], clips: Sequence[AssembledClip]
    ) -> Sequence[Prediction | None]:
        """Answer clips; without an answer where the engine has none, unless it never has.

        Raises:
            AnswerError: so many times in a row that it is no accident.
        """
        try:
            found = self._form.answer(workers, clips)
        except AnswerError as error:
            self._unanswered += 1
            if self._unanswered >= MOST_UNANSWERED:
                raise
            if self._unanswered == 1:
                _log.error("%s; going on", error)
            return [None] * len(workers)
        self._unanswered = 0
        return found

    def _answer(self, batch: Batch) -> Iterator[Prediction]:
        started_s = self._clock.now()
        workers = [worker for worker, _ in batch]
        predictions = self._attempted(workers, [pending.clip for _, pending in batch])
        done_s = self._clock.now()
        for (worker, pending), prediction in zip(batch, predictions, strict=True):
            if prediction is None:
                continue
            self._scheduler.answered(worker, done_s)
            delay = Delay(
                prepare_ms=pending.prepare_ms,
                queue_ms=(started_s - pending.ready_s) * 1000,
                latency_ms=(done_s - pending.captured_s) * 1000,
            )
            stale = done_s - pending.captured_s > worker.pace.every_s
            yield self._decided(
                replace(
                    prediction, source=worker.name, address=worker.address, delay=delay, stale=stale
                )
            )


def _inputs(
    sources: Source | SourceInput | Sequence[Source | SourceInput],
) -> dict[str, SourceInput]:
    """Return the sources by their ids."""
    listed = sources if isinstance(sources, (list, tuple)) else [cast("Source", sources)]
    given = [one if isinstance(one, SourceInput) else SourceInput(one) for one in listed]
    return dict(zip(source_ids([one.name for one in given]), given, strict=True))
