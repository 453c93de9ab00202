"""Those who watch a page: what each is sent, and what a slow one does without."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_tsm.service.web.pictures import PICTURE, SIDES_PX, Key, Picture
from edge_tsm.system.jsontext import to_json

MOST_WAITING = 1000  # messages that are never left out
ACKNOWLEDGED_S = 10.0
SLOW_S = 0.3  # a picture that takes longer is followed by smaller ones, the smallest by a pause
QUICK = 20  # acknowledgments in a row until a larger size is tried
MOST_TOP = 64


View = tuple[int, str]  # kind of picture, camera


class Watcher(Protocol):
    """Takes pictures."""

    def watches(self, key: Key) -> bool:
        """Return whether it watches a camera's pictures of a kind and size."""
        ...

    def show(self, picture: Picture) -> None:
        """Take a picture; called in the loop for every one that is made."""
        ...


class Fit:
    """Chooses how large pictures are by how long each takes to be acknowledged.

    A slow one makes the next ones smaller. `QUICK` in a row that would not have been slow at the
    next larger size, whose time goes with its area, make them larger again.

    >>> fit = Fit()
    >>> fit.note(0.4)
    >>> fit.side_px
    480
    """

    def __init__(self) -> None:
        self._step = self._quick = 0

    @property
    def side_px(self) -> int:
        """The longer side of the next picture."""
        return SIDES_PX[self._step]

    @property
    def is_smallest(self) -> bool:
        """Whether nothing smaller can be had."""
        return self._step == len(SIDES_PX) - 1

    def note(self, took_s: float) -> None:
        """Note an acknowledgment."""
        larger_px = SIDES_PX[max(self._step - 1, 0)]
        if took_s > SLOW_S:
            self._step, self._quick = min(self._step + 1, len(SIDES_PX) - 1), 0
        elif took_s * (larger_px / self.side_px) ** 2 > SLOW_S:
            self._quick = 0
        else:
            self._quick += 1
        if self._quick >= QUICK:
            self._step, self._quick = max(self._step - 1, 0), 0


@dataclass
class _Slot:
    """One view that is watched: at most one picture is in flight."""

    view: View
    fit: Fit = field(default_factory=Fit)
    number: int = 0
    sent_s: float = 0.0
    in_flight: bool = False
    is_ready: bool = True

    @property
    def key(self) -> Key:
        """Which picture is wanted; what the model saw has one size."""
        kind, camera = self.view
        return Key(kind, camera, self.fit.side_px) if kind == PICTURE else Key(kind, camera)


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer as viewers get it: each its own choice of classes."""

    camera: str
    facts: dict[str, Any]
    scores: Any  # (classes,) float32

    def to_json(self, top: int, pinned: tuple[int, ...]) -> dict[str, Any]:
        """Return the message for one who watches these classes, and the best `top`."""
        best = self.scores.argsort()[::-1][:top].tolist()
        chosen = dict.fromkeys([*best, *(i for i in pinned if i < len(self.scores))])
        scores = [[i, round(float(self.scores[i]), 4)] for i in chosen]
        return {"type": "answer", "camera": self.camera, **self.facts, "scores": scores}


class Viewer:
    """One page that is open: chooses what it is sent, by `send`, in its own task.

    Args:
        send: sends a message, text or bytes, and waits while there is no room.
        want: asks for the next picture of a camera.
        now: by which acknowledgments are timed.
    """

    def __init__(
        self,
        send: Callable[[str | bytes], Awaitable[None]],
        want: Callable[[Key], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send, self._want, self._now = send, want, now
        self._changed = asyncio.Event()
        self._texts = deque[Any]()
        self._answers: dict[str, Answer] = {}
        self._newest: dict[str, Any] = {}
        self._pictures: dict[View, tuple[int, Picture]] = {}
        self._slots: dict[View, _Slot] = {}
        self._top, self._pinned, self._number = 3, dict[str, tuple[int, ...]](), 0
        self.sent = self.skipped = 0

    def watch(
        self, views: set[View], *, top: int = 3, pinned: dict[str, tuple[int, ...]] | None = None
    ) -> None:
        """Watch these from now on, and these classes."""
        self._top, self._pinned = min(top, MOST_TOP), pinned or {}
        self._slots = {view: self._slots.get(view) or _Slot(view) for view in views}
        self._pictures = {k: v for k, v in self._pictures.items() if k in views}
        for slot in self._slots.values():
            if slot.is_ready and not slot.in_flight:
                self._want(slot.key)

    def acknowledge(self, view: View, number: int) -> None:
        """Note that a picture was drawn: there may be another one."""
        slot = self._slots.get(view)
        if slot is None or not slot.in_flight or slot.number != number:
            return
        slot.in_flight = False
        took_s, was_smallest = self._now() - slot.sent_s, slot.fit.is_smallest
        slot.fit.note(took_s)
        if took_s > SLOW_S and (was_smallest or view[0] != PICTURE):
            slot.is_ready = False
            asyncio.get_running_loop().call_later(min(took_s, 2.0), self._make_ready, view)
        else:
            self._make_ready(view)

    def watches(self, key: Key) -> bool:
        """Return whether it watches a camera's pictures of a kind and size."""
        slot = self._slots.get((key.kind, key.camera))
        return slot is not None and slot.key == key

    def show(self, picture: Picture) -> None:
        """Send a picture, unless one is on its way."""
        view = (picture.key.kind, picture.key.camera)
        slot = self._slots.get(view)
        if slot is None or slot.key != picture.key:
            return
        if slot.in_flight or not slot.is_ready:
            self.skipped += 1
            return
        self._number = (self._number + 1) % (1 << 32)
        slot.number, slot.in_flight, slot.sent_s = self._number, True, self._now()
        self._pictures[view] = (self._number, picture)
        self._changed.set()

    def answer(self, answer: Answer) -> None:
        """Send an answer; a newer one of its camera replaces it while it waits."""
        self._answers[answer.camera] = answer
        self._changed.set()

    def newest(self, kind: str, message: Any) -> None:
        """Send a message that a newer one of its kind replaces while it waits."""
        self._newest[kind] = message
        self._changed.set()

    def tell(self, message: Any) -> None:
        """Send a message that is never left out."""
        self._texts.append(message)
        self._changed.set()

    async def run(self) -> None:
        """Send what there is, until cancelled."""
        while await self._changed.wait():
            self._changed.clear()
            await self._send_all()

    @property
    def is_stuck(self) -> bool:
        """Whether it takes too little of what it asked for, and is to be let go."""
        since_s = min((s.sent_s for s in self._slots.values() if s.in_flight), default=self._now())
        return len(self._texts) > MOST_WAITING or self._now() - since_s > ACKNOWLEDGED_S

    async def _send_all(self) -> None:
        while self._texts or self._answers or self._newest or self._pictures:
            while self._texts:
                await self._send(to_json(self._texts.popleft()))
            for camera in list(self._answers):
                answer = self._answers.pop(camera)
                message = answer.to_json(self._top, self._pinned.get(camera, ()))
                await self._send(to_json(message))
            for kind in list(self._newest):
                await self._send(to_json(self._newest.pop(kind)))
            for view in list(self._pictures):
                if waiting := self._pictures.pop(view, None):
                    self.sent += 1
                    await self._send(waiting[1].message(waiting[0]))

    def _make_ready(self, view: View) -> None:
        slot = self._slots.get(view)
        if slot is not None:
            slot.is_ready = True
            self._want(slot.key)


class NextPicture:
    """Waits for one picture after the other, as a program that shows them does."""

    def __init__(self, key: Key, want: Callable[[Key], None]) -> None:
        self._key, self._want = key, want
        self._waiting: asyncio.Future[Picture] | None = None
        self._stopped = False

    def watches(self, key: Key) -> bool:
        """Return whether it watches a camera's pictures of a kind."""
        return key == self._key

    def show(self, picture: Picture) -> None:
        """Take a picture, if one is waited for."""
        if picture.key == self._key and self._waiting and not self._waiting.done():
            self._waiting.set_result(picture)

    def stop(self) -> None:
        """End the wait, now and later."""
        self._stopped = True
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("the page ends"))

    async def take(self, timeout_s: float) -> Picture:
        """Return the next picture.

        Raises:
            asyncio.TimeoutError: none comes in time.
            ConnectionResetError: the page ends.
        """
        if self._stopped:
            raise ConnectionResetError("the page ends")
        self._waiting = asyncio.get_running_loop().create_future()
        self._want(self._key)
        return await asyncio.wait_for(self._waiting, timeout_s)
