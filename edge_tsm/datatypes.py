"""The values that pass between the stages of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3)
Tensor = NDArray[Any]
Color = Literal["bgr", "rgb"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    `image` is (H, W, 3) uint8 BGR, as OpenCV delivers it; `index` counts from 0 within the source
    and goes on after a reconnect, so that a hole tells of dropped frames; `time_s` is the media
    time of a file, or the monotonic capture time of a live source; `gap` marks the first frame
    after a break: what came before does not belong to the same motion.
    """

    image: Image
    index: int
    time_s: float
    gap: bool = False


@dataclass(frozen=True)
class Score:
    """One line of an answer: class index, label, probability (0 to 1)."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Window:
    """Which frames an answer rests on: their indices and the seconds they span in the source.

    `ages_s` is how much older than the window's end each frame is; `dropped` counts the frames
    that the source delivered within the window and that nobody had time to look at.
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
    """

    source: str
    state: Literal["opening", "live", "lost", "ended"]
    frames: int
    dropped: int
    answers: int
    skipped: int
    breaks: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one clip.

    `logits` and `probabilities` are (classes,) float32 in the order of `labels`; `inference_ms`
    is the wall time of the engine call alone; `window` says which frames were seen, where known.
    Answers of a pipeline name their `source`, credentials removed; live ones have a `delay`, and
    are `stale` if the next answer was due before this one was ready.
    """

    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    inference_ms: float
    window: Window | None = None
    source: str | None = None
    delay: Delay | None = None
    stale: bool = False

    def top(self, k: int = 5) -> list[Score]:
        """Return the `k` most probable classes, best first (fewer when there are fewer)."""
        order = np.argsort(-self.logits, kind="stable")[:k]
        return [Score(int(i), self.labels[i], float(self.probabilities[i])) for i in order]

    @property
    def label(self) -> str:
        """The most probable label (top-1)."""
        return self.top(1)[0].label

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
