"""How an int8 file answers clips that it was not calibrated on, beside the other artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx

from converters.quantization.calibration import ClipSet, Count, spread, unseen
from converters.quantization.judgment import Answers, Evidence, Judgment, Outcome, judge
from converters.verification.clips import Clips, generated_clip
from converters.verification.online import STEPS, prove_chain
from converters.verification.reference import Check, Proof, compare
from edge_tsm.backends import RuntimeOptions, engine_of, open_backend
from edge_tsm.bundle.card import Activation, Card, File, Verification
from edge_tsm.bundle.golden import measure
from edge_tsm.datatypes import Image, Logits
from edge_tsm.errors import VerificationError
from edge_tsm.inference.postprocess import probabilities
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.system.machine import Processor

# Share of the logit range by which the same int8 file may differ elsewhere. Integer sums are exact,
# but engines round their results differently (measured: ONNX Runtime and OpenVINO by 0.009).
INT8_TOLERANCE = 0.05
GENERATED_CLIPS, _FIRST_SEED = 6, 7000
# A float file is proven to answer as the checkpoint does; so many clips show that it does here too.
MOST_FLOAT_CLIPS = 32
# Below this effect of reversed frames, a share of the reference's, time does not reach the answer.
_LEAST_EFFECT = 0.25


@dataclass(frozen=True)
class Assessment:
    """One artifact on one engine against the reference, on the clips kept back.

    `judgment` is an int8 file's, None of others, which are proven by their tolerance and answer
    `clips` of the clips, at most 32. `accuracy` is against the labels of all clips, None without
    labels; on those that a float file did not answer it is the checkpoint's. `latency_ms` is the
    median of one run on this machine's CPU.
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
    status: Outcome
    judgment: Judgment | None = None


@dataclass(frozen=True)
class _Answered:
    logits: Logits
    latency_ms: float


@dataclass(frozen=True)
class Original:
    """The checkpoint's network: `run` gives the logits of clips, (K, classes).

    `frames` gives those of every frame, (K, T, classes), where the model is online.
    """

    run: Callable[[Clips], Logits]
    order_sensitive: bool
    frames: Callable[[Clips], Logits] | None = None


class Holdout:
    """Clips kept back from calibration: the checkpoint's answers, and those of artifacts.

    `evidence` says which of `clips` count. At most the share `max_drop` of the answers may be lost.
    """

    def __init__(
        self,
        original: Original,
        card: Card,
        clips: ClipSet,
        evidence: Evidence,
        *,
        max_drop: float,
        count: Count = unseen,
    ) -> None:
        self._original, self._card, self._clips, self._evidence = original, card, clips, evidence
        self._max_drop, self._count = max_drop, count
        self._crops = {
            "kept back": clips.crops,
            "reversed": clips.crops[:2, ::-1],
            "generated": _generated(card),
        }
        self._logits = {group: self._refer(crops) for group, crops in self._crops.items()}
        self._some = spread(len(clips), min(len(clips), MOST_FLOAT_CLIPS))
        self._crops["some"] = clips.crops[self._some]
        self._logits["some"] = self._logits["kept back"][self._some]
        self._known: dict[tuple[str, str, str], _Answered] = {}  # by content, engine and clips

    def judge(self, path: Path, engine: str) -> Judgment:
        """Return what the clips tell of an int8 file on an engine."""
        kept, generated = (
            Answers(self._logits[group], self._answers(path, engine, group), self._activation)
            for group in ("kept back", "generated")
        )
        return judge(kept, generated, self._evidence, max_drop=self._max_drop)

    def attempt(self, path: Path) -> Judgment:
        """Return what the clips tell of a file on its own engine.

        The same graph under another name, as in the bundle, is not run again.
        """
        return self.judge(path, engine_of(path))

    def check(self, path: Path, card: Card, *, engine: str, precision: str) -> Check:
        """Compare an int8 file with the reference.

        Raises:
            VerificationError: the file is worse than the reference, its answers are no numbers,
                reversed frames no longer change them, or an online model's errors grow from step
                to step.
        """
        groups = {group: self._measure(path, engine, group) for group in ("kept back", "generated")}
        if not all(np.isfinite(result.max_abs_diff) for result in groups.values()):
            raise VerificationError(f"{path.name} on {engine} answers what is not a number")
        judgment = self.judge(path, engine)
        if judgment.outcome is Outcome.WORSE:
            raise VerificationError(
                f"{path.name} on {engine} is worse than the checkpoint: "
                f"{'; '.join(judgment.reasons)}; calibrate on more and other clips, leave layers "
                "float (--keep-float) or allow more (--max-drop)"
            )
        return Check(
            groups | self._chained(path, card, engine),
            groups["kept back"],
            self._prove(path, engine),
            proven=judgment.outcome is Outcome.PROVEN,
            summary=judgment.summary,
            reasons=judgment.reasons,
        )

    def assess(self, path: Path, file: File, engine: str) -> Assessment:
        """Return how a finished artifact answers, and how fast."""
        judgment = self.judge(path, engine) if file.precision == "int8" else None
        group = "kept back" if judgment else "some"
        result = self._measure(path, engine, group)
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
            mean_probability_diff=self._probability_diff(path, engine, group),
            accuracy=self._accuracy(path, engine, group),
            bytes=sum((path.parent / name).stat().st_size for name in (file.path, *file.parts)),
            latency_ms=self._answered(path, engine, group).latency_ms,
            status=judgment.outcome if judgment else Outcome.PROVEN,
            judgment=judgment,
        )

    def _probability_diff(self, path: Path, engine: str, group: str) -> float:
        """Return the mean change of probabilities."""
        pairs = (self._logits[group], self._answers(path, engine, group))
        reference, shares = (probabilities(x, self._activation) for x in pairs)
        return float(np.abs(reference - shares).mean())

    def _accuracy(self, path: Path, engine: str, group: str) -> float | None:
        """Return the share of all clips answered rightly, with the checkpoint's other answers."""
        labels, logits = self._clips.labels, self._logits["kept back"].copy()
        logits[self._some if group == "some" else slice(None)] = self._answers(path, engine, group)
        return None if labels is None else float(np.mean(logits.argmax(1) == labels))

    @property
    def _activation(self) -> Activation:
        return self._card.output.activation

    def _measure(self, path: Path, engine: str, group: str) -> Verification:
        answers = self._answers(path, engine, group)
        result = measure(self._logits[group], answers, tolerance=INT8_TOLERANCE)
        return replace(result, top1_required=1 - self._max_drop)

    def _chained(self, path: Path, card: Card, engine: str) -> dict[str, Verification]:
        """Step through clips one after the other, as through one video."""
        if self._original.frames is None:
            return {}
        crops = self._clips.crops.reshape(-1, *self._clips.crops.shape[2:])
        chosen = list(crops[np.arange(STEPS) % len(crops)])
        video = Preprocessor(card.preprocess).tensor(chosen)[None]
        expected = self._original.frames(video)
        backend = open_backend(engine, path, RuntimeOptions())
        try:
            found = prove_chain(
                path, backend, card, video=video, expected=expected, noise=INT8_TOLERANCE
            )
        finally:
            backend.close()
        expected = np.repeat(expected, len(found), axis=0)
        return {f"{STEPS} steps": compare(expected, found, INT8_TOLERANCE)}

    def _prove(self, path: Path, engine: str) -> Proof:
        expected, effect = (
            np.abs(backwards - straight[: len(backwards)]).max()
            for straight, backwards in (
                (self._logits["kept back"], self._logits["reversed"]),
                (self._answers(path, engine), self._answers(path, engine, "reversed")),
            )
        )
        if self._original.order_sensitive and effect < _LEAST_EFFECT * expected:
            raise VerificationError(
                f"{path.name}: reversed frames change the answer by {effect:.2g}, the checkpoint's "
                f"by {expected:.2g}; calibrate on clips with motion"
            )
        spread, logits = (
            float(np.ptp(self._logits["kept back"])) or 1.0,
            self._answers(path, engine),
        )
        between = np.abs(logits - logits[::-1]).max()
        return Proof(float(between) / spread, float(effect) / spread, float(expected) / spread)

    def _answers(self, path: Path, engine: str, group: str = "kept back") -> Logits:
        return self._answered(path, engine, group).logits

    def _answered(self, path: Path, engine: str, group: str) -> _Answered:
        key = (_content(path), engine, group)
        if key not in self._known:
            self._known[key] = self._run(path, engine, self._crops[group])
        return self._known[key]

    def _run(self, path: Path, engine: str, crops: Image) -> _Answered:
        """Return logits (K, classes) and the median time of a run in milliseconds."""
        backend = open_backend(engine, path, RuntimeOptions())
        with Recognizer(self._card, backend) as recognizer:
            answers = list(recognizer.predict_many(map(list, crops)))
        times = [answer.inference_ms for answer in answers]
        return _Answered(np.stack([answer.logits for answer in answers]), float(np.median(times)))

    def _refer(self, crops: Image) -> Logits:
        preprocess, rows = Preprocessor(self._card.preprocess), []
        for done, clip in enumerate(crops):
            self._count("int8 reference", done, len(crops))
            rows.append(self._original.run(preprocess.tensor(list(clip))[None]))
        return np.concatenate(rows)


def compare_speed(assessments: Sequence[Assessment], cpu: Processor) -> str:
    """Return a warning where the fastest int8 artifact is slower than the fastest float one."""
    times = [(a.precision == "int8", a.latency_ms) for a in assessments if a.target == "any"]
    int8, float_ = (
        min((ms for kind, ms in times if kind is wanted), default=0.0) for wanted in (True, False)
    )
    if int8 <= float_:
        return ""
    known = bool(cpu.features) and not cpu.has_fast_int8
    reason = ": it has no int8 dot product (VNNI)" if known else ""
    return f"int8 is slower than float on this CPU ({int8:.1f} ms against {float_:.1f} ms){reason}"


def _generated(card: Card) -> Image:
    """Return clips that nothing was calibrated on, (K, T, crop_px, crop_px, 3)."""
    segments, size_px = card.sampling.segments, card.preprocess.crop_px
    seeds = range(_FIRST_SEED, _FIRST_SEED + GENERATED_CLIPS)
    return np.stack([generated_clip(seed, segments, size_px) for seed in seeds])


def _content(path: Path) -> str:
    """Return a digest of a file's graph and weights; the card inside does not count."""
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache
def _digest(path: Path, changed: int, size: int) -> str:
    if path.suffix == ".onnx":
        parts = [onnx.load(str(path)).graph.SerializeToString(deterministic=True)]
    else:
        parts = [p.read_bytes() for p in (path, path.with_suffix(".bin")) if p.exists()]
    return hashlib.sha256(b"".join(parts)).hexdigest()
