"""How far two sets of logits agree, and the golden clips that every bundle carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_tsm.bundle.arrays import read_arrays
from edge_tsm.bundle.card import GOLDEN_FILE, Verification
from edge_tsm.datatypes import Image, Prediction
from edge_tsm.errors import CardError

_OWN = "logits of "
MOST_CLIPS, MOST_BYTES = 256, 1 << 30  # 200 clips of 32 frames of 224 x 224


class Answers(Protocol):
    """What `Recognizer` offers."""

    def predict_many(self, clips: Iterable[Sequence[Image]]) -> Iterator[Prediction]:
        """Classify clips of T prepared crops each."""
        ...


@dataclass(frozen=True)
class Golden:
    """Clips (K, T, crop_px, crop_px, 3) uint8 and the reference's logits (K, classes).

    `own` are the logits of files that are not meant to equal the reference (int8), by name: what
    they answered at conversion.

    >>> import edge_tsm.demo
    >>> golden = Golden.read(edge_tsm.demo.bundle())
    >>> golden.clips.shape, golden.logits.shape, sorted(golden.own)
    ((2, 8, 224, 224, 3), (2, 9), ['model.int8.onnx'])
    """

    clips: Image
    logits: NDArray[np.float32]
    own: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def read(cls, bundle: Path) -> Golden:
        """Read `golden.npz` of a bundle.

        Raises:
            CardError: the file is missing or damaged.
        """
        path = bundle / GOLDEN_FILE
        arrays = read_arrays(path, most_bytes=MOST_BYTES)
        try:
            clips, logits = arrays["clips"], arrays["logits"]
        except KeyError as error:
            raise CardError(f"{path}: has no {error}; convert the checkpoint again") from error
        own = {n.removeprefix(_OWN): a for n, a in arrays.items() if n.startswith(_OWN)}
        golden = cls(clips, logits, own)
        for problem in golden._problems():
            raise CardError(f"{path}: {problem}; convert the checkpoint again")
        return golden

    def _problems(self) -> Iterator[str]:
        """Yield what is not as `write` makes it."""
        if self.clips.ndim != 5 or self.clips.dtype != np.uint8:
            yield f"clips are {self.clips.dtype} {self.clips.shape}, not (K, T, H, W, 3) uint8"
        if not 0 < len(self.clips) <= MOST_CLIPS:
            yield f"{len(self.clips)} clips, not 1 to {MOST_CLIPS}"
        for name, logits in {"logits": self.logits, **self.own}.items():
            if logits.ndim != 2 or len(logits) != len(self.clips) or logits.dtype != np.float32:
                yield f"{name}: {logits.dtype} {logits.shape}, not (K, classes) float32"
            elif not np.isfinite(logits).all():
                yield f"{name}: not finite"

    def replay(self, recognizer: Answers, *, tolerance: float, file: str = "") -> Verification:
        """Answer the clips and compare with the reference, or with the own logits of `file`."""
        expected, answers = self.own.get(file, self.logits), self.answers(recognizer)
        if answers.shape != expected.shape:
            raise CardError(f"{GOLDEN_FILE} has logits {expected.shape}, not {answers.shape}")
        return measure(expected, answers, tolerance=tolerance)

    def answers(self, recognizer: Answers) -> NDArray[np.float32]:
        """Return the logits (K, classes) that `recognizer` gives for the clips."""
        return np.stack([p.logits for p in recognizer.predict_many(map(list, self.clips))])

    def write(self, bundle: Path) -> None:
        """Write `golden.npz` into a bundle."""
        own: dict[str, Any] = {f"{_OWN}{name}": logits for name, logits in self.own.items()}
        np.savez_compressed(bundle / GOLDEN_FILE, clips=self.clips, logits=self.logits, **own)


def measure(
    reference: NDArray[np.float32], answer: NDArray[np.float32], *, tolerance: float
) -> Verification:
    """Compare (K, classes) logits; differences are related to the range of the reference's logits.

    The cosine is that of all logits at once, each clip's mean over its classes removed, as softmax
    does not see it; with one class the logits are taken as they are. Top-5 agreement is the mean
    share of the reference's five best classes (all, if there are fewer) among the answer's five
    best.
    """
    diff = float(np.abs(reference - answer).max())
    spread = float(reference.max() - reference.min())
    return Verification(
        clips=len(reference),
        max_abs_diff=diff if np.isfinite(diff) else float("inf"),
        max_rel_diff=diff / spread if spread > 0 and np.isfinite(diff) else float("inf"),
        tolerance=tolerance,
        cosine=_cosine(reference, answer),
        top1_agreement=_overlap(reference, answer, 1),
        top5_agreement=_overlap(reference, answer, 5),
        top1_required=0.0,
    )


def _cosine(reference: NDArray[np.float32], answer: NDArray[np.float32]) -> float:
    """Return the cosine of centered logits, NaN where an answer is not finite."""
    a, b = reference.astype(np.float64), answer.astype(np.float64)
    with np.errstate(invalid="ignore"):
        if a.shape[1] > 1:
            a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float((a * b).sum()) / max(norms, np.finfo(np.float64).tiny)


def _overlap(reference: NDArray[np.float32], answer: NDArray[np.float32], k: int) -> float:
    k = min(k, reference.shape[1])
    best = [np.argsort(-x, axis=1, kind="stable")[:, :k] for x in (reference, answer)]
    shares = [len(np.intersect1d(a, b)) / k for a, b in zip(*best, strict=True)]
    return float(np.mean(shares))
