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

    `image` is (H, W, 3) uint8 BGR, as OpenCV delivers it; `index` counts from 0 within the source;
    `time_s` is the media time of a file, or the monotonic capture time of a live source.
    """

    image: Image
    index: int
    time_s: float


@dataclass(frozen=True)
class Score:
    """One line of an answer: class index, label, probability (0 to 1)."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Window:
    """Which frames an answer rests on: their indices and the seconds they span in the source."""

    frames: tuple[int, ...]
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one clip.

    `logits` and `probabilities` are (classes,) float32 in the order of `labels`; `inference_ms`
    is the wall time of the engine call alone; `window` says which frames were seen, where known.
    """

    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    inference_ms: float
    window: Window | None = None

    def top(self, k: int = 5) -> list[Score]:
        """Return the `k` most probable classes, best first (fewer when there are fewer)."""
        order = np.argsort(-self.logits, kind="stable")[:k]
        return [Score(int(i), self.labels[i], float(self.probabilities[i])) for i in order]

    @property
    def label(self) -> str:
        """The most probable label (top-1)."""
        return self.top(1)[0].label

    def to_json(self, k: int = 5) -> Mapping[str, Any]:
        """Return a JSON-ready mapping: the top `k`, every logit, the window, the latency."""
        window = self.window
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
            "inference_ms": round(self.inference_ms, 3),
        }
