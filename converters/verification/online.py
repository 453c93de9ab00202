"""Online artifacts with chained state: frame by frame what the clip form answers.

The reference for every step is the clip form (shift from the past only, zero before the first
frame), which sees all frames at once and carries nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from converters.architectures.classifier import VideoClassifier, build_online, build_reference
from converters.recipe import Recipe
from converters.verification.clips import Clips, random_clips
from converters.verification.reference import (
    SEVERAL,
    TOLERANCE,
    Array,
    Reference,
    compare,
    reverse_frames,
    run_batch,
)
from edge_tsm.backends import Backend
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.datatypes import Logits
from edge_tsm.errors import VerificationError
from edge_tsm.inference.streaming import feed, fresh_state

# A frame is remembered for at most as many steps as there are shifts, one after the other: 10 in
# MobileNetV2, 16 in ResNet-50. What compounds has done so within the first half.
STEPS = 24
# Answers may be this many times further off at the end than at the start; below this share of the
# tolerance nothing is called growth.
_GROWTH, _NOISE = 3.0, 0.1
_SAME = 1e-5  # share of the logit range by which an artifact may differ from itself


class OnlineReference(Reference):
    """The clip form's answers to every frame, and what only a model with state has to prove."""

    def __init__(
        self, recipe: Recipe, tensors: Mapping[str, Tensor], groups: Mapping[str, Clips]
    ) -> None:
        self._recipe, self._tensors = recipe, tensors
        self._clip_forms: dict[int, VideoClassifier] = {}  # by number of frames
        super().__init__(self._clip_form(recipe.segments), groups, order_sensitive=True)
        size = recipe.preprocess.crop_px
        self._long = random_clips(1, (STEPS * 3, size, size))
        self._long_answers = self.answers(self._long)
        self._prove_torch()

    def _clip_form(self, frames: int) -> VideoClassifier:
        if frames not in self._clip_forms:
            _, shift = self._recipe.shifted
            recipe = replace(self._recipe, segments=frames, shift=replace(shift, segments=frames))
            model = build_reference(recipe, self._tensors)
            assert isinstance(model, VideoClassifier)  # as every network with a shift
            self._clip_forms[frames] = model
        return self._clip_forms[frames]

    def answers(self, clips: Clips) -> Logits:
        """Return the clip form's logits of every frame, (K, T, classes)."""
        model = self._clip_form(clips.shape[1] // 3)
        with torch.no_grad():
            rows = [model.frames(torch.from_numpy(clip[None])).numpy() for clip in clips]
        return np.stack(rows)

    def reorder(self, clips: Clips) -> Clips:
        """Return clips with all frames but the last in reverse order."""
        return np.concatenate((reverse_frames(clips[:, :-3]), clips[:, -3:]), axis=1)

    def final(self, logits: Logits) -> Logits:
        """Return the answers to the last frames, (K, classes)."""
        return logits[:, -1]

    def extra(
        self, path: Path, backend: Backend, card: Card, tolerance: float
    ) -> dict[str, Verification]:
        """Chain many steps, twice: errors may not grow, nor anything survive in the engine.

        Raises:
            VerificationError: errors compound, or the state does not reach the answer.
        """
        noise, spread = _NOISE * tolerance, float(np.ptp(self._long_answers))
        chained = prove_chain(
            path, backend, card, video=self._long, expected=self._long_answers, noise=noise
        )
        expected = np.repeat(self._long_answers, len(chained), axis=0)
        found = {f"{STEPS} steps": compare(expected, chained, tolerance)}
        if not found[f"{STEPS} steps"].max_rel_diff <= tolerance:
            return found  # the caller refuses it
        clips = np.repeat(self._long, len(chained), axis=0)
        moved = np.abs(stateless(backend, card, clips) - chained[:, -1]).max() / spread
        if moved <= _SAME:
            raise VerificationError(
                f"{path.name}: the answer is the same when nothing is carried from frame to frame "
                f"(it moves by {moved:.1g} of its range); its weights may be untrained or zero"
            )
        return found

    def _prove_torch(self) -> None:
        """Refuse an online network in torch that does not answer as its own clip form."""
        model, caches = build_online(self._recipe, self._tensors), ()
        frames = torch.from_numpy(self._long).reshape(STEPS, 1, 3, *self._long.shape[2:])
        rows = []
        with torch.no_grad():
            for frame in frames:
                logits, *caches = model(frame, *caches)
                rows.append(logits.numpy())
        result = compare(self._long_answers, np.stack(rows, axis=1), TOLERANCE["f32"])
        if not result.max_rel_diff <= result.tolerance:
            raise VerificationError(
                f"in torch, online and clip form differ by {result.max_rel_diff:.2g} of the logit "
                "range; this is an error of edge-tsm"
            )


def prove_chain(
    path: Path, backend: Backend, card: Card, *, video: Clips, expected: Logits, noise: float
) -> Logits:
    """Return the answers to the frames of (1, T*3, H, W), in every place of a batch.

    `expected` is (1, T, classes); up to `noise`, a share of its range, nothing is called growth.

    Raises:
        VerificationError: errors grow, or a second chain does not answer as the first.
    """
    clips = np.repeat(video, SEVERAL if card.input.dynamic_batch else card.input.shape[0], axis=0)
    chained, again = (run_batch(backend, card, clips) for _ in range(2))
    spread = float(np.ptp(expected))
    drift = np.abs(chained - expected).max((0, 2)) / spread
    if compounds(drift, noise):
        quarter = len(drift) // 4
        raise VerificationError(
            f"{path.name}: errors grow through the state, from {drift[:quarter].max():.1g} to "
            f"{drift[-quarter:].max():.1g} of the logit range in {len(drift)} steps"
        )
    if np.abs(again - chained).max() > _SAME * spread:
        raise VerificationError(f"{path.name}: a fresh start does not answer as the first did")
    return chained


def compounds(drift: Array, noise: float) -> bool:
    """Return whether a difference per step, (T,), is clearly larger in the end than at the start.

    Both are shares of the logit range.
    """
    quarter = len(drift) // 4
    return float(drift[-quarter:].max()) - noise > _GROWTH * float(drift[:quarter].max())


def stateless(backend: Backend, card: Card, clips: Clips) -> Logits:
    """Return the answers to the last frames of (N, T*3, H, W) when fed without those before."""
    frames = np.ascontiguousarray(clips[:, -3:])
    return backend.run(feed(card, frames, fresh_state(card, len(frames))))[card.output.name].copy()
