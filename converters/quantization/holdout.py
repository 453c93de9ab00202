"""How an int8 file answers clips that it was not calibrated on, beside the other artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.quantization.calibration import ClipSet
from converters.verification.clips import Clips
from converters.verification.online import STEPS, prove_chain
from converters.verification.reference import Check, Proof, compare
from edge_tsm.backends import RuntimeOptions, engine_of, open_backend
from edge_tsm.bundle.card import Card, File, Verification
from edge_tsm.bundle.golden import measure
from edge_tsm.datatypes import Image, Logits
from edge_tsm.errors import VerificationError
from edge_tsm.inference.postprocess import softmax
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.system.machine import Processor

# Share of the logit range by which the same int8 file may differ elsewhere. Integer sums are exact,
# but engines round their results differently (measured: ONNX Runtime and OpenVINO by 0.009).
INT8_TOLERANCE = 0.05
# Below this effect of reversed frames, a share of the reference's, time does not reach the answer.
_LEAST_EFFECT = 0.25


@dataclass(frozen=True)
class Assessment:
    """One artifact on one engine against the reference, on the clips kept back.

    `accuracy` is against the clips' labels, None without labels; `latency_ms` is the median of one
    run on this machine's CPU. `status` is equal, within the bound or beyond the bound, by top-1;
    int8 files beyond it make no bundle.
    """

    file: str
    engine: str
    precision: str
    target: str
    clips: int
    top1_agreement: float
    top5_agreement: float
    cosine: float
    max_abs_diff: float
    mean_probability_diff: float
    accuracy: float | None
    bytes: int
    latency_ms: float
    status: str


@dataclass(frozen=True)
class _Answers:
    logits: Logits
    reversed: Logits
    latency_ms: float


class Holdout:
    """Clips kept back from calibration: the reference's answers, and those of artifacts.

    `reference` gives the logits of clips, (K, classes); `frames` those of every frame, (K, T,
    classes), where the model is online. At most `max_drop` of the clips may be answered otherwise.
    """

    def __init__(
        self,
        reference: Callable[[Clips], Logits],
        card: Card,
        clips: ClipSet,
        *,
        max_drop: float,
        order_sensitive: bool,
        frames: Callable[[Clips], Logits] | None = None,
    ) -> None:
        self._card, self._clips = card, clips
        self._reversed = clips.crops[:2, ::-1]
        self._logits = self._refer(reference, clips.crops)
        self._reversed_logits = self._refer(reference, self._reversed)
        self._order_sensitive, self._frames = order_sensitive, frames
        self._known: dict[tuple[str, str], _Answers] = {}
        self.required = 1 - max_drop

    def agreement(self, path: Path) -> float:
        """Return the share of clips on which a file answers the reference's class."""
        answers, _ = self._run(path, engine_of(path), self._clips.crops)
        return float(np.mean(answers.argmax(1) == self._logits.argmax(1)))

    def distance(self, path: Path, clips: int) -> float:
        """Return the mean squared difference of logits on the first `clips` clips."""
        answers, _ = self._run(path, engine_of(path), self._clips.crops[:clips])
        return float(np.mean((answers - self._logits[:clips]) ** 2))

    def check(self, path: Path, card: Card, *, engine: str, precision: str) -> Check:
        """Compare an int8 file with the reference.

        Raises:
            VerificationError: fewer clips than required are answered alike, reversed frames no
                longer change the answer, or an online model's errors grow from step to step.
        """
        found = self._answers(path, engine)
        result = self._measure(found.logits)
        if result.top1_agreement < self.required:
            changed = round(result.clips * (1 - result.top1_agreement))
            raise VerificationError(
                f"{path.name} on {engine} answers {changed} of {result.clips} clips unlike the "
                f"checkpoint, allowed {result.clips * (1 - self.required):.1f}; try --keep-float "
                "auto, more calibration clips or a larger --max-drop"
            )
        groups = {"kept back": result} | self._chained(path, card, engine)
        return Check(groups, result, self._prove(path, found))

    def assess(self, path: Path, file: File, engine: str) -> Assessment:
        """Return how a finished artifact answers, and how fast."""
        found = self._answers(path, engine)
        result = self._measure(found.logits)
        labels = self._clips.labels
        return Assessment(
            file=path.name,
            engine=engine,
            precision=file.precision,
            target=file.target,
            clips=result.clips,
            top1_agreement=result.top1_agreement,
            top5_agreement=result.top5_agreement,
            cosine=result.cosine,
            max_abs_diff=result.max_abs_diff,
            mean_probability_diff=_probability_diff(self._logits, found.logits),
            accuracy=None if labels is None else _share(found.logits, labels),
            bytes=sum((path.parent / name).stat().st_size for name in (file.path, *file.parts)),
            latency_ms=found.latency_ms,
            status=_status(result),
        )

    def _measure(self, logits: Logits) -> Verification:
        result = measure(self._logits, logits, tolerance=INT8_TOLERANCE)
        return replace(result, top1_required=self.required)

    def _chained(self, path: Path, card: Card, engine: str) -> dict[str, Verification]:
        """Step through clips one after the other, as through one video."""
        if self._frames is None:
            return {}
        crops = self._clips.crops.reshape(-1, *self._clips.crops.shape[2:])
        chosen = list(crops[np.arange(STEPS) % len(crops)])
        video = Preprocessor(card.preprocess).tensor(chosen)[None]
        expected, backend = self._frames(video), open_backend(engine, path, RuntimeOptions())
        try:
            found = prove_chain(
                path, backend, card, video=video, expected=expected, noise=INT8_TOLERANCE
            )
        finally:
            backend.close()
        expected = np.repeat(expected, len(found), axis=0)
        return {f"{STEPS} steps": compare(expected, found, INT8_TOLERANCE)}

    def _prove(self, path: Path, found: _Answers) -> Proof:
        expected = np.abs(self._reversed_logits - self._logits[: len(self._reversed)]).max()
        effect = np.abs(found.reversed - found.logits[: len(found.reversed)]).max()
        if self._order_sensitive and effect < _LEAST_EFFECT * expected:
            raise VerificationError(
                f"{path.name}: reversed frames change the answer by {effect:.2g}, the checkpoint's "
                f"by {expected:.2g}; calibrate on clips with motion"
            )
        spread = float(np.ptp(self._logits)) or 1.0
        between = np.abs(found.logits - found.logits[::-1]).max()
        return Proof(float(between) / spread, float(effect) / spread, float(expected) / spread)

    def _answers(self, path: Path, engine: str) -> _Answers:
        key = (path.name, engine)
        if key not in self._known:
            logits, latency_ms = self._run(path, engine, self._clips.crops)
            reordered, _ = self._run(path, engine, self._reversed)
            self._known[key] = _Answers(logits, reordered, latency_ms)
        return self._known[key]

    def _run(self, path: Path, engine: str, crops: Image) -> tuple[Logits, float]:
        """Return logits (K, classes) and the median time of a run in milliseconds."""
        backend = open_backend(engine, path, RuntimeOptions())
        with Recognizer(self._card, backend) as recognizer:
            answers = list(recognizer.predict_many(map(list, crops)))
        times = [answer.inference_ms for answer in answers]
        return np.stack([answer.logits for answer in answers]), float(np.median(times))

    def _refer(self, reference: Callable[[Clips], Logits], crops: Image) -> Logits:
        preprocess = Preprocessor(self._card.preprocess)
        rows = [reference(preprocess.tensor(list(clip))[None]) for clip in crops]
        return np.concatenate(rows)


def compare_speed(assessments: Sequence[Assessment], cpu: Processor) -> str:
    """Return a warning where the fastest int8 artifact is slower than the fastest float one."""
    times = [(a.precision == "int8", a.latency_ms) for a in assessments if a.target == "any"]
    int8, float_ = (min(ms for kind, ms in times if kind is wanted) for wanted in (True, False))
    if int8 <= float_:
        return ""
    known = bool(cpu.features) and not cpu.has_fast_int8
    reason = ": it has no int8 dot product (VNNI)" if known else ""
    return f"int8 is slower than float on this CPU ({int8:.1f} ms against {float_:.1f} ms){reason}"


def _status(result: Verification) -> str:
    if result.top1_agreement == 1:
        return "equal"
    return f"{'within' if result.top1_agreement >= result.top1_required else 'beyond'} the bound"


def _probability_diff(reference: Logits, logits: Logits) -> float:
    return float(np.abs(softmax(reference) - softmax(logits)).mean())


def _share(logits: Logits, labels: NDArray[np.int64]) -> float:
    return float(np.mean(logits.argmax(1) == labels))
