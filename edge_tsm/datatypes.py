"""The values that pass between the stages of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3)
Tensor = NDArray[Any]
Logits = NDArray[np.float32]  # (..., classes)
Color = Literal["bgr", "rgb"]
Activation = Literal["softmax", "sigmoid"]
ON = 0.5  # from this probability on, a class that has one of its own counts as answered
SourceState = Literal["opening", "live", "silent", "frozen", "black", "lost", "ended"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    `image` is (H, W, 3) uint8 BGR, as OpenCV delivers it; `index` counts from 0 within the source
    and continues after a reconnect, so that a hole means dropped frames; `time_s` is the media
    time of a file, or the monotonic capture time of a live source; `gap` marks the first frame
    after a break: what came before does not belong to the same motion.

    >>> frame = Frame(np.zeros((240, 320, 3), np.uint8), index=0, time_s=0.04)
    >>> frame.image.shape, frame.gap
    ((240, 320, 3), False)
    """

    image: Image
    index: int
    time_s: float
    gap: bool = False


@dataclass(frozen=True)
class Score:
    """One line of an answer: class index, label, probability (0 to 1).

    >>> score = Score(2, "swipe up", 0.97)
    >>> f"{score.probability:.0%} {score.label}"
    '97% swipe up'
    """

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Window:
    """Which frames an answer rests on: their indices and the seconds they span in the source.

    `ages_s` is how much older than the window's end each frame is; `dropped` counts the frames
    that the source delivered within the window and that nobody had time to look at.

    >>> window = Window(frames=(3, 9), start_s=0.0, end_s=0.5, ages_s=(0.25, 0.0))
    >>> window.end_s - window.start_s, window.dropped
    (0.5, 0)
    """

    frames: tuple[int, ...]
    start_s: float
    end_s: float
    ages_s: tuple[float, ...] = ()
    dropped: int = 0


@dataclass(frozen=True)
class Delay:
    """Where the time from capture to answer went, for an answer of a live source.

    `prepare_ms` is the preparation of the newest frame, `queue_ms` the wait of the full window for
    the engine, `latency_ms` all of it: from the capture of the newest frame to the answer.
    """

    prepare_ms: float
    queue_ms: float
    latency_ms: float


@dataclass(frozen=True)
class Counts:
    """What became of a live source so far; every number only grows.

    `frames` were delivered by the source, `dropped` of them replaced by newer ones before anyone
    looked; `answers` were given, `skipped` windows were due while the engine was busy and gave way
    to newer ones; `breaks` are losses, hangs and other gaps, after which the window fills again.
    `source` is the id, `address` the URI without secrets. The source has been in its `state` for
    `state_s` seconds.
    """

    source: str
    state: SourceState
    frames: int
    dropped: int
    answers: int
    skipped: int
    breaks: int
    address: str = ""
    state_s: float = 0.0


@dataclass(frozen=True)
class StateChange:
    """A live source is in another state than `before`.

    | state | |
    | --- | --- |
    | opening | nothing came yet |
    | live | frames come; after `lost`, it is back |
    | silent | connected, and nothing came for two seconds, or three times its slowest pace |
    | frozen, black | for `CaptureOptions.warn_s`, pictures were the same to the bit, or black |
    | lost | it failed, hung or could not be opened; it is opened again |
    | ended | it is over, or was removed |

    `source` is the id, `time_s` that of the clock, `utc` the time of day where the clock knows
    one, and `reason` a line for people, without secrets.

    >>> from datetime import datetime, timezone
    >>> noon = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    >>> StateChange("porch", "lost", "live", 41.5, noon, "no route to host").to_json()["utc"]
    '2026-05-01T12:00:00.000+00:00'
    """

    source: str
    state: SourceState
    before: SourceState
    time_s: float
    utc: datetime | None = None
    reason: str = ""

    def to_json(self) -> dict[str, str | float | None]:
        """Return a JSON-ready mapping."""
        return {**asdict(self), "utc": iso(self.utc)}


@dataclass(frozen=True)
class Media:
    """A file that shows an event: a picture of its start, or seconds around it.

    >>> Media("snapshot", "/srv/starts/edge-tsm-000001-wave.jpg").to_json()
    {'kind': 'snapshot', 'file': 'edge-tsm-000001-wave.jpg'}
    """

    kind: Literal["snapshot", "clip"]
    path: str

    def to_json(self) -> dict[str, str]:
        """Return a JSON-ready mapping, which leaves out where on this machine the file lies."""
        return {"kind": self.kind, "file": PurePath(self.path).name}


@dataclass(frozen=True)
class Event:
    """The start or the end of an action.

    `start_s` is when its score was first high enough, `told_s` the time of the answer that settled
    it (for an end: when the action was over), both in seconds of the source's clock; `score` is the
    highest smoothed probability so far.

    An `ActionTracker` adds the rest. The start and the end of one action share an `id`, which sorts
    by time and is unique; `source` names where it was seen. `start_utc` and `end_utc` are times of
    day, None where only media time is known (a recording), `decided_utc` is when the event was
    decided. `media` names the files that show it, once they are there.

    >>> event = Event("end", 1, "wave", start_s=2.0, told_s=3.5, score=0.9)
    >>> f"{event.label} lasted {event.duration_s:.1f} s"
    'wave lasted 1.5 s'
    """

    kind: Literal["start", "end"]
    index: int
    label: str
    start_s: float
    told_s: float
    score: float
    id: str = ""
    source: str | None = None
    start_utc: datetime | None = None
    end_utc: datetime | None = None
    decided_utc: datetime | None = None
    media: tuple[Media, ...] = ()

    @property
    def duration_s(self) -> float | None:
        """Seconds that the action lasted, None while it is on."""
        return self.told_s - self.start_s if self.kind == "end" else None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; times of day in ISO 8601."""
        duration_s = self.duration_s
        return {
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "index": self.index,
            "label": self.label,
            "score": round(self.score, 6),
            "start_s": round(self.start_s, 4),
            "told_s": round(self.told_s, 4),
            "duration_s": None if duration_s is None else round(duration_s, 4),
            "start_utc": iso(self.start_utc),
            "end_utc": iso(self.end_utc),
            "decided_utc": iso(self.decided_utc),
            "media": [media.to_json() for media in self.media],
        }


def iso(time: datetime | None) -> str | None:
    """Return a time of day in ISO 8601, to the millisecond."""
    return None if time is None else time.isoformat(timespec="milliseconds")


@dataclass(frozen=True, eq=False)
class Decision:
    """What an answer changes: the action that is on (`action`, or None) and the events just now.

    Where each class has a probability of its own, `actions` are all that are on, and `action` is
    the one with the highest score; None where there can be only one.

    `scores` are the smoothed probabilities, (classes,) float32, 0 for ignored classes. The raw
    answer stays in the prediction.

    >>> decision = Decision(("idle", "wave"), action=1, scores=np.array([0.1, 0.9], np.float32))
    >>> decision.label, decision.events
    ('wave', ())
    """

    labels: tuple[str, ...]
    action: int | None
    scores: NDArray[np.float32]
    events: tuple[Event, ...] = ()
    actions: tuple[int, ...] | None = None

    @property
    def on(self) -> tuple[int, ...]:
        """The classes of all actions that are on."""
        if self.actions is not None:
            return self.actions
        return () if self.action is None else (self.action,)

    @property
    def label(self) -> str | None:
        """The label of the action that is on, None when none is."""
        return None if self.action is None else self.labels[self.action]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; the score is that of the action, or of the best class."""
        shown = int(self.scores.argmax()) if self.action is None else self.action
        several = {"actions": [self.labels[i] for i in self.on]} if self.actions is not None else {}
        return {
            "action": self.label,
            **several,
            "best": self.labels[shown],
            "score": round(float(self.scores[shown]), 6),
            "events": [event.to_json() for event in self.events],
        }


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one clip.

    `logits` and `probabilities` are (classes,) float32 in the order of `labels`; `inference_ms`
    is the wall time of the engine call alone; `window` says which frames were seen, where known.
    Answers of a pipeline carry the id of their `source`, and for people its `address`, without
    secrets; live ones have a `delay`, and are `stale` if the next answer was due before this one
    was ready. A `decision` comes where rules turn answers into actions.

    >>> logits = np.array([0.0, 2.0], np.float32)
    >>> answer = Prediction(("idle", "wave"), logits, np.array([0.12, 0.88], np.float32), 4.2)
    >>> answer.label, [score.label for score in answer.top(2)]
    ('wave', ['wave', 'idle'])
    """

    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    inference_ms: float
    window: Window | None = None
    source: str | None = None
    delay: Delay | None = None
    stale: bool = False
    decision: Decision | None = None
    address: str | None = None
    activation: Activation = "softmax"

    @property
    def answered(self) -> list[Score]:
        """The classes that this is an answer for, best first.

        The most probable one; where each has a probability of its own, those of half or more.
        """
        if self.activation == "softmax":
            return self.top(1)
        return [score for score in self.top(len(self.labels)) if score.probability >= ON]

    def top(self, k: int = 5) -> list[Score]:
        """Return the `k` most probable classes, best first (fewer when there are fewer)."""
        order = np.argsort(-self.logits, kind="stable")[:k]
        return [Score(int(i), self.labels[i], float(self.probabilities[i])) for i in order]

    @property
    def label(self) -> str:
        """The most probable label (top-1)."""
        return self.top(1)[0].label

    @property
    def events(self) -> tuple[Event, ...]:
        """The starts and ends of actions that come with this answer."""
        return self.decision.events if self.decision else ()

    def to_json(self, k: int = 5) -> Mapping[str, Any]:
        """Return a JSON-ready mapping: the top `k`, every logit, the window, the times."""
        window, delay = self.window, self.delay
        return {
            "label": self.label,
            "top": [
                {"index": s.index, "label": s.label, "probability": round(s.probability, 6)}
                for s in self.top(k)
            ],
            "logits": [round(float(v), 6) for v in self.logits],
            "frames": list(window.frames) if window else None,
            "start_s": round(window.start_s, 4) if window else None,
            "end_s": round(window.end_s, 4) if window else None,
            "ages_s": [round(age_s, 4) for age_s in window.ages_s] if window else None,
            "dropped": window.dropped if window else None,
            "inference_ms": round(self.inference_ms, 3),
            "latency_ms": round(delay.latency_ms, 3) if delay else None,
            "stale": self.stale,
        }
