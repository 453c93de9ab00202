"""What a page shows of a run, in the server's loop: the last minutes of each camera, to viewers."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_tsm.datatypes import Event, Prediction, StateChange, iso
from edge_tsm.events.record import state_record
from edge_tsm.service.web.pictures import Key, Picture
from edge_tsm.service.web.viewers import Answer, NextPicture, Viewer, Watcher

HISTORY_S, MOST_ANSWERS = 600.0, 6000
MOST_GAPS = 100
EMPTY_STATES = ("lost", "silent", "opening", "ended")


@dataclass(frozen=True, eq=False)
class Moment:
    """One answer in a camera's history; scores are smoothed, (classes,) float32."""

    utc: datetime | None
    time_s: float
    scores: NDArray[np.float32]


@dataclass
class Gap:
    """A time without pictures, or a break between two; it has no end while it lasts."""

    start_utc: datetime | None
    end_utc: datetime | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "start_utc": iso(self.start_utc),
            "end_utc": iso(self.end_utc),
            "reason": self.reason,
        }


@dataclass
class CameraView:
    """What is known of a camera that counts do not say."""

    reason: str = ""
    on: tuple[int, ...] = ()
    action: str | None = None
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MOST_ANSWERS))
    gaps: deque[Gap] = field(default_factory=lambda: deque(maxlen=MOST_GAPS))

    def add(self, moment: Moment) -> None:
        """Note an answer, and forget those of long ago."""
        self.moments.append(moment)
        while not 0 <= moment.time_s - self.moments[0].time_s <= HISTORY_S:
            self.moments.popleft()

    @property
    def last_utc(self) -> datetime | None:
        """When the last answer was."""
        return self.moments[-1].utc if self.moments else None


class Hub:
    """Takes what a run brings, and hands it to viewers; all of it in the server's loop.

    Args:
        described: makes the record of an event, with its links.
        want: asks for the next picture of a camera.
    """

    def __init__(
        self, described: Callable[[Event], dict[str, Any]], want: Callable[[Key], None]
    ) -> None:
        self.views: dict[str, CameraView] = {}
        self.want = want
        self._described = described
        self._viewers = dict[Viewer, asyncio.Task[None]]()
        self._watchers = set[Watcher]()

    @property
    def viewers(self) -> list[Viewer]:
        """Those who watch now."""
        return list(self._viewers)

    @property
    def watchers(self) -> int:
        """How many watch, programs that show a camera's pictures among them."""
        return len(self._watchers)

    @contextmanager
    def watching(self, watcher: Watcher) -> Iterator[None]:
        """Hand pictures to a watcher."""
        self._watchers.add(watcher)
        try:
            yield
        finally:
            self._watchers.discard(watcher)

    @contextmanager
    def next_picture(self, key: Key) -> Iterator[NextPicture]:
        """Wait for pictures of a camera one by one."""
        watcher = NextPicture(key, self.want)
        with self.watching(watcher):
            yield watcher

    @contextmanager
    def viewing(self, viewer: Viewer, task: asyncio.Task[None]) -> Iterator[None]:
        """Hand everything to a viewer; `task` is cancelled when it takes too little of it."""
        self._viewers[viewer] = task
        with self.watching(viewer):
            try:
                yield
            finally:
                del self._viewers[viewer]

    def is_watched(self, key: Key) -> bool:
        """Return whether someone watches a camera's pictures of a kind; from any thread."""
        return any(watcher.watches(key) for watcher in tuple(self._watchers))

    def picture(self, picture: Picture) -> None:
        """Show a picture to those who have room for it."""
        for watcher in list(self._watchers):
            watcher.show(picture)

    def answer(self, prediction: Prediction, camera: str, utc: datetime | None) -> None:
        """Show an answer."""
        decision, window, delay = prediction.decision, prediction.window, prediction.delay
        view = self.view(camera)
        scores = decision.scores if decision else prediction.probabilities
        time_s = window.end_s if window else math.nan
        again = bool(view.moments) and view.moments[-1].time_s == time_s  # it brings an end late
        if window is not None and not again:
            view.add(Moment(utc, time_s, scores))
        view.on, view.action = (decision.on, decision.label) if decision else ((), None)
        facts = {
            "utc": iso(utc),
            "time_s": round(time_s, 4),
            "on": list(view.on),
            "action": view.action,
            "latency_ms": round(delay.latency_ms, 3) if delay else None,
            "stale": prediction.stale,
        }
        answer = Answer(camera, facts, scores)
        for viewer in self._viewers:
            viewer.answer(answer)

    def event(self, event: Event) -> None:
        """Show the start or end of an action, or that it has a file."""
        self.tell({"type": "event", "event": self._described(event)})

    def state(self, change: StateChange) -> None:
        """Show that a camera is in another state, and where its answers have a hole."""
        view = self.view(change.source)
        view.reason = change.reason
        is_open = bool(view.gaps) and view.gaps[-1].end_utc is None
        if change.state in EMPTY_STATES and not is_open:
            view.gaps.append(Gap(change.utc, None, change.state))
        elif change.state not in EMPTY_STATES and is_open:
            view.gaps[-1].end_utc = change.utc
        if change.state in ("lost", "ended"):
            view.on, view.action = (), None
        self.tell({"type": "state", "state": state_record(change)})

    def gap(self, camera: str, utc: datetime | None) -> None:
        """Show that what a camera showed before is not the same motion."""
        view, reason = self.view(camera), "break in the stream"
        if not view.moments:
            return
        before = view.last_utc
        if not (view.gaps and before and view.gaps[-1].end_utc and view.gaps[-1].end_utc >= before):
            view.gaps.append(Gap(before, utc, reason))
        self.tell({"type": "gap", "camera": camera, "utc": iso(utc), "reason": reason})

    def tell(self, message: Any) -> None:
        """Show a message to all, that is never left out."""
        for viewer in self._viewers:
            viewer.tell(message)

    def newest(self, kind: str, message: Any) -> None:
        """Show a message to all, that a newer one of its kind may replace."""
        for viewer in self._viewers:
            viewer.newest(kind, message)

    def let_go(self) -> None:
        """End the connections of those who take too little."""
        for viewer, task in list(self._viewers.items()):
            if viewer.is_stuck:
                task.cancel()

    def stop(self) -> None:
        """End every connection."""
        for task in self._viewers.values():
            task.cancel()
        for watcher in self._watchers:
            if isinstance(watcher, NextPicture):
                watcher.stop()

    def view(self, camera: str) -> CameraView:
        """Return what is known of a camera."""
        return self.views.setdefault(camera, CameraView())
