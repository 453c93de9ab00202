"""Live sources on their way to the engine: each in a thread, with one clip pending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Counts, Frame, Image, StateChange
from edge_tsm.errors import SourceError
from edge_tsm.live.assembler import AssembledClip, Assembler, Pace
from edge_tsm.live.capture import CaptureOptions, LiveCapture
from edge_tsm.live.health import OnState
from edge_tsm.sources import OnProgress, Source
from edge_tsm.system.clock import Condition, Handover

OnFrame = Callable[[Frame], None]
OnClip = Callable[[AssembledClip], None]
OLD_S = 60.0


@dataclass(frozen=True, eq=False)
class SourceInput:
    """A source, and what else its frames are wanted for.

    `name` is the id of the source in answers, events and files: 1 to 64 of the characters
    `A-Za-z0-9_.-`, unique in a pipeline; by default "0", "1", … in the order of the sources.
    `on_frame` is called with every frame of a live source, in its thread; `progress` with (frames
    decoded, frames expected) of a recording; `on_state` with every change of a live source's
    state, in its thread; `on_clip` with every clip that is due of it. `window_s`, `every_s` and
    `rules` are those of the pipeline where they are not the source's own.

    >>> from edge_tsm.sources import open_source
    >>> SourceInput(open_source("test://64x48/10"), name="porch").name
    'porch'
    """

    source: Source
    on_frame: OnFrame | None = None
    progress: OnProgress | None = None
    name: str | None = None
    on_state: OnState | None = None
    window_s: float | None = None
    every_s: float | None = None
    rules: Rules | None = None
    on_clip: OnClip | None = None


@dataclass(frozen=True, eq=False)
class PendingClip:
    """A clip that waits for the engine; `captured_s` and `ready_s` are times of the clock."""

    clip: AssembledClip
    captured_s: float
    ready_s: float
    prepare_ms: float


class SourceWorker:
    """One live source: a thread that prepares its frames, and at most one clip pending.

    The newest clip wins. `changed` guards the public members, and is notified of every change.
    """

    def __init__(
        self,
        given: SourceInput,
        assembler: Assembler,
        *,
        pace: Pace,
        prepare: Callable[[Image], Image],
        options: CaptureOptions,
        changed: Condition,
    ) -> None:
        self.pending: PendingClip | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.turn = 0  # when it was served last
        self.answers = 0
        self.name, self.pace = given.name or "0", pace
        self.thread_id: int | None = None
        self._capture = LiveCapture(
            given.source,
            options,
            name=self.name,
            on_state=self._note_state,
            patient=options.required != "all",
        )
        self._on_state, self._on_clip = given.on_state, given.on_clip
        self._on_frame, self._prepare, self._assembler = given.on_frame, prepare, assembler
        self._clock, self._changed = options.clock, changed
        self._skipped = 0

    @property
    def address(self) -> str:
        """The source's address, secrets removed."""
        return self._capture.address

    @property
    def failure(self) -> SourceError | None:
        """Why it cannot be opened, as long as it never delivered."""
        return self._capture.failure

    @property
    def delivered(self) -> bool:
        """Whether a frame ever came."""
        return self._capture.tally.frames > 0

    def start(self) -> None:
        """Start the thread."""
        self._clock.start(self._run, name="edge-tsm capture")

    def stop(self) -> None:
        """End the source, and with it the thread."""
        self._capture.stop()

    def join(self, until_s: float) -> bool:
        """Wait for the thread's end, until a time of the clock; return whether it has ended."""
        with self._changed:
            while not self.ended and (left_s := until_s - self._clock.now()) > 0:
                self._changed.wait(left_s)
            return self.ended

    def take(self, turn: int) -> PendingClip:
        """Take the pending clip, with `changed` held."""
        assert self.pending is not None
        pending, self.pending = self.pending, None
        self.turn = turn
        return pending

    def counts(self) -> Counts:
        """Return what became of the source so far."""
        tally = self._capture.tally
        return Counts(
            source=self.name,
            state=self._capture.state,
            frames=tally.frames,
            dropped=tally.dropped,
            answers=self.answers,
            skipped=self._skipped,
            breaks=tally.breaks,
            address=self.address,
            state_s=self._capture.state_s,
        )

    def _run(self) -> None:
        with Handover(self._end):
            self.thread_id = threading.get_ident()
            for frame in self._capture:
                self._keep(frame)

    def _note_state(self, change: StateChange) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._on_state is not None:
            self._on_state(change)

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
        if self._on_clip:
            self._on_clip(clip)
        # A custom source may count time unlike the clock: then its arrival stands in for it.
        comparable = 0 <= arrived_s - frame.time_s < OLD_S
        captured_s = frame.time_s if comparable else arrived_s
        self._offer(PendingClip(clip, captured_s, self._clock.now(), prepare_ms))

    def _offer(self, pending: PendingClip) -> None:
        with self._changed:
            if self.pending is not None:
                self._skipped += 1
                if self.pending.clip.fresh:  # the break before it was not seen yet
                    pending = replace(pending, clip=replace(pending.clip, fresh=True))
            self.pending = pending
            self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self.error, self.ended = error, True
            self._changed.notify_all()
