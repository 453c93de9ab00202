"""Every artifact against the torch reference, and the proof that time reaches the answer.

A graph whose shift was folded into a constant passes a test on zeros, and one with the shift the
wrong way round is off by about one percent: so the clips are noise, moving pictures and, if given,
real ones, and the order of frames is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converters.verification.clips import Clips
from edge_tsm.backends import Backend, RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import measure
from edge_tsm.datatypes import Logits
from edge_tsm.errors import CardError, VerificationError
from edge_tsm.inference.runner import runner_of

Array = NDArray[np.float32]

# Relative to the range of the reference's logits. Measured over all variants: f32 at most 5e-6.
TOLERANCE = {"f32": 1e-4, "f16": 2e-2}
# An effect of the input or of frame order counts when it is this many times the numerical noise.
_CLEARLY = 10.0
SEVERAL = 3  # clips at a time by which a graph that takes any number is verified, beside one


@dataclass(frozen=True)
class Proof:
    """What other input and reversed frames change, as shares of the logit range."""

    input_effect: float
    order_effect: float
    order_expected: float


@dataclass(frozen=True)
class Check:
    """One artifact's result per group of clips, and over all of them.

    An artifact that may be kept although the clips do not prove it is not `proven`, for `reasons`;
    `summary` is what is found in one line, where that is more than the figures of `total`.
    """

    groups: dict[str, Verification]
    total: Verification
    proof: Proof
    proven: bool = True
    summary: str = ""
    reasons: tuple[str, ...] = ()


class Reference:
    """The torch network's answers on the clips that artifacts will see."""

    def __init__(self, model: nn.Module, groups: Mapping[str, Clips], *, order_sensitive: bool):
        self._model = model
        self._groups = {name: (clips, self.answers(clips)) for name, clips in groups.items()}
        self._probe_logits = _first_two(logits for _, logits in self._groups.values())
        self._reversed = self.reorder(_first_two(clips for clips, _ in self._groups.values()))
        self._reversed_logits = self.answers(self._reversed)
        self._order_sensitive = order_sensitive

    def run(self, clips: Clips) -> Logits:
        """Return the reference's logits, (K, classes), one clip at a time."""
        with torch.no_grad():
            rows = [self._model(torch.from_numpy(clip[None])).numpy()[0] for clip in clips]
        return np.stack(rows).astype(np.float32)

    def answers(self, clips: Clips) -> Logits:
        """Return what artifacts are compared with."""
        return self.run(clips)

    def reorder(self, clips: Clips) -> Clips:
        """Return (K, T*3, H, W) clips with their frames in another order."""
        return reverse_frames(clips)

    def final(self, logits: Logits) -> Logits:
        """Return the part of `answers` that has seen all frames, (K, classes)."""
        return logits

    def extra(
        self, path: Path, backend: Backend, card: Card, tolerance: float
    ) -> dict[str, Verification]:
        """Check what only some networks have; return further results by name."""
        return {}

    def check(self, path: Path, card: Card, *, engine: str, precision: str) -> Check:
        """Compare an artifact with the reference.

        Raises:
            VerificationError: a difference above the tolerance, or an artifact that does not look
                at its input or at the order of frames.
        """
        tolerance = TOLERANCE[precision]
        backend = open_backend(engine, path, RuntimeOptions())
        try:
            answers = {
                name: run_artifact(backend, card, clips)
                for name, (clips, _) in self._groups.items()
            }
            reordered = run_artifact(backend, card, self._reversed)
            extra = self.extra(path, backend, card, tolerance)
        finally:
            backend.close()
        groups = {
            name: compare(logits, answers[name], tolerance)
            for name, (_, logits) in self._groups.items()
        }
        groups["reversed"] = compare(self._reversed_logits, reordered, tolerance)
        groups |= extra
        for name, result in groups.items():
            self._enforce(path, name, result)
        total = _total(groups.values())
        straight = _first_two(answers.values())
        return Check(groups, total, self._prove(path, straight, reordered, total.max_rel_diff))

    def _enforce(self, path: Path, name: str, result: Verification) -> None:
        if not result.max_rel_diff <= result.tolerance:
            raise VerificationError(
                f"{path.name} does not answer as the checkpoint does: on {name} clips the logits "
                f"differ by {result.max_rel_diff:.2g} of their range, allowed {result.tolerance:g}"
            )

    def _prove(self, path: Path, straight: Logits, reordered: Logits, noise: float) -> Proof:
        spread = float(self._probe_logits.max() - self._probe_logits.min())
        ordered = self.final(straight) - self.final(reordered)
        expected = self.final(self._probe_logits) - self.final(self._reversed_logits)
        proof = Proof(
            input_effect=float(np.abs(straight - straight[::-1]).max()) / spread,
            order_effect=float(np.abs(ordered).max()) / spread,
            order_expected=float(np.abs(expected).max()) / spread,
        )
        clearly = _CLEARLY * max(noise, 1e-6)
        if proof.input_effect <= clearly:
            raise VerificationError(
                f"{path.name}: the answer does not depend on the input (it moves by "
                f"{proof.input_effect:.1g} of its range); the network is dead or untrained"
            )
        if self._order_sensitive and proof.order_effect <= clearly:
            raise VerificationError(
                f"{path.name}: reversing the frames does not change the answer, although the "
                "network looks along time; its weights may be untrained or zero"
            )
        if not self._order_sensitive and proof.order_effect > clearly:
            raise VerificationError(
                f"{path.name}: reversing the frames changes the answer by {proof.order_effect:.2g} "
                "of its range, although the network does not look along time"
            )
        return proof


def compare(reference: Logits, answers: Logits, tolerance: float) -> Verification:
    """Measure every row of logits, of frames as of clips."""
    classes = reference.shape[-1]
    return measure(
        reference.reshape(-1, classes), answers.reshape(-1, classes), tolerance=tolerance
    )


def _first_two(groups: Iterable[Array]) -> Array:
    return np.concatenate([group[:2] for group in groups])


def reverse_frames(clips: Clips) -> Clips:
    """Return (K, T*3, H, W) clips with their frames in reverse order."""
    frames = clips.reshape(len(clips), -1, 3, *clips.shape[2:])
    return np.ascontiguousarray(frames[:, ::-1]).reshape(clips.shape)


def run_artifact(backend: Backend, card: Card, clips: Clips) -> Logits:
    """Return an artifact's logits, (K, classes), of an online one (K, T, classes).

    With a batch size N every clip is run in each of the N places, among different neighbors; where
    any size will do, alone and in threes. The answer that is furthest from the mean over places is
    the one that counts.
    """
    batches = (1, SEVERAL) if card.input.dynamic_batch else card.input.shape[:1]
    answers = np.concatenate([_in_all_places(backend, card, clips, batch) for batch in batches])
    distance = np.abs(answers - answers.mean(0)).reshape(*answers.shape[:2], -1).max(2)
    furthest = distance.argmax(0)
    result: Logits = answers[furthest, np.arange(len(clips))]
    return result


def _in_all_places(backend: Backend, card: Card, clips: Clips, batch: int) -> Logits:
    """Return the answers to K clips in each place of a batch, (batch, K, …)."""
    count = -(-len(clips) // batch) * batch
    filled = clips[np.arange(count) % len(clips)]
    answers = [_in_place(backend, card, filled, place, batch) for place in range(batch)]
    return np.stack(answers)[:, : len(clips)]


def _in_place(backend: Backend, card: Card, clips: Clips, place: int, batch: int) -> Logits:
    """Run all clips with each moved `place` places on within the sequence of batches."""
    moved = np.roll(clips, place, axis=0)
    rows = []
    for i in range(0, len(moved), batch):
        rows.append(run_batch(backend, card, moved[i : i + batch]))
    return np.roll(np.concatenate(rows), -place, axis=0).astype(np.float32)


def run_batch(backend: Backend, card: Card, clips: Clips) -> Logits:
    """Return the logits of one batch, of an online artifact those of every frame.

    Raises:
        VerificationError: the graph does not answer what the card says.
    """
    try:
        return runner_of(card, backend).logits(clips)
    except CardError as error:
        raise VerificationError(f"the graph answers something else: {error}") from error


def _total(results: Collection[Verification]) -> Verification:
    clips = sum(part.clips for part in results)
    return Verification(
        clips=clips,
        max_abs_diff=max(part.max_abs_diff for part in results),
        max_rel_diff=max(part.max_rel_diff for part in results),
        tolerance=max(part.tolerance for part in results),
        cosine=min(part.cosine for part in results),
        top1_agreement=sum(part.top1_agreement * part.clips for part in results) / clips,
        top5_agreement=sum(part.top5_agreement * part.clips for part in results) / clips,
        top1_required=0.0,
    )
