"""Live sources on their way to the engine: each in a thread, with one clip waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_tsm.datatypes import Counts, Frame, Image
from edge_tsm.live.assembler import Assembler, Clip
from edge_tsm.live.capture import Capture, CaptureOptions
from edge_tsm.sources import OnProgress, Source
from edge_tsm.system.clock import Condition, Handover

OnFrame = Callable[[Frame], None]
OLD_S = 60.0


@dataclass(frozen=True, eq=False)
class Feed:
    """A source and what else its frames are wanted for.

    `on_frame` is called with every frame of a live source, in its thread; `progress` with (frames
    decoded, frames expected) of a recording.
    """

    source: Source
    on_frame: OnFrame | None = None
    progress: OnProgress | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A clip that waits for the engine; `captured_s` and `ready_s` are times of the clock."""

    clip: Clip
    captured_s: float
    ready_s: float
    prepare_ms: float


class Lane:
    """One live source: a thread that prepares its frames, and at most one job for the engine.

    The newest job wins. `changed` guards the public members, and is notified of every change.
    """

    def __init__(
        self,
        feed: Feed,
        assembler: Assembler,
        *,
        prepare: Callable[[Image], Image],
        options: CaptureOptions,
        changed: Condition,
    ) -> None:
        self.job: Job | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.turn = 0  # when it was served last
        self.answers = 0
        self._capture = Capture(feed.source, options)
        self._on_frame, self._prepare, self._assembler = feed.on_frame, prepare, assembler
        self._clock, self._changed = options.clock, changed
        self._skipped = 0

    @property
    def uri(self) -> str:
        """The source's address, credentials removed."""
        return self._capture.uri

    def start(self) -> None:
        """Start the thread."""
        self._clock.start(self._run, name="edge-tsm capture")

    def stop(self) -> None:
        """End the source, and with it the thread."""
        self._capture.stop()

    def join(self, until_s: float) -> None:
        """Wait for the thread's end, until a time of the clock."""
        with self._changed:
            while not self.ended and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(left_s)

    def take(self, turn: int) -> Job:
        """Take the job that waits, with `changed` held."""
        assert self.job is not None
        job, self.job = self.job, None
        self.turn = turn
        return job

    def counts(self) -> Counts:
        """Return what became of the source so far."""
        tally = self._capture.tally
        return Counts(
            source=self.uri,
            state=self._capture.state,
            frames=tally.frames,
            dropped=tally.dropped,
            answers=self.answers,
            skipped=self._skipped,
            breaks=tally.breaks,
        )

    def _run(self) -> None:
        with Handover(self._end):
            for frame in self._capture:
                self._keep(frame)

    def _keep(self, frame: Frame) -> None:
        arrived_s = self._clock.now()
        if self._on_frame:
            self._on_frame(frame)
        if not self._assembler.wants(frame):
            return
        started = time.perf_counter()
        crop = self._prepare(frame.image)
        prepare_ms = (time.perf_counter() - started) * 1000
        clip = self._assembler.add(frame, crop)
        if clip is None:
            return
        # An own source may count time otherwise than the clock: then the arrival stands for it.
        comparable = 0 <= arrived_s - frame.time_s < OLD_S
        captured_s = frame.time_s if comparable else arrived_s
        self._offer(Job(clip, captured_s, self._clock.now(), prepare_ms))

    def _offer(self, job: Job) -> None:
        with self._changed:
            if self.job is not None:
                self._skipped += 1
                if self.job.clip.fresh:  # the break before it was not seen yet
                    job = replace(job, clip=replace(job.clip, fresh=True))
            self.job = job
            self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self.error, self.ended = error, True
            self._changed.notify_all()
