"""Is an int8 file as good as the checkpoint? What clips that it was not calibrated on can tell.

The rule, on the clips kept back that count (`evidence` says which do not):

1. Every clip has a *margin*: the reference's logit of its answer minus that of the class which the
   int8 file prefers or, where the answer is the same, of the runner-up. What int8 changes of it is
   that clip's noise. With sigmoid outputs the margin is the distance from 0 of the logit whose
   decision changed or, where none did, of the one nearest to 0.
2. A *flip* is another answer. It is a *loss* if its margin is above the tolerance: the 90 %
   quantile of the noise, at most a tenth of the median margin. Below that the reference does not
   tell the classes apart either; and a file whose noise is large cannot excuse itself by it.
3. The share of answers that int8 loses lies, with 95 % confidence each, above the lower and below
   the upper exact binomial bound (Clopper & Pearson 1934, one-sided). The file is
   *worse* if the lower bound is above `max_drop`, and *proven* only if the upper one is not.
4. It is also worse where clips have classes and McNemar's exact test (McNemar 1947; the binomial
   test of the discordant pairs, one-sided) says at 5 % that int8 is wrong more often.
5. Generated clips are a second test, independent of what the ranges were measured on: there the
   logits, their mean over classes removed, may move by a quarter of their size (measured: 1 to 7 %
   for sound files, 56 to 97 % where ranges come from black or gray clips). They are not what the
   model is for, so they can withhold the proof and not refuse the file.

What is neither worse nor proven is *unproven*. Nothing here reads a file or runs a network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

from edge_tsm.bundle.card import Activation
from edge_tsm.datatypes import Logits

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
MOST_DRIFT = 0.25
_NOISE_QUANTILE = 0.9
_MOST_NOISE = 0.1  # of the median margin
_MOST_CLIPS = 10**7


class Outcome(StrEnum):
    """What the clips tell about an int8 file."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    WORSE = "worse"


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits of the reference and of an int8 file on the same clips, both (K, classes)."""

    reference: Logits
    int8: Logits
    activation: Activation = "softmax"


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of the K clips kept back: their names, which of them count (K,), their classes (K,)."""

    names: tuple[str, ...]
    counts: NDArray[np.bool_]
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Flip:
    """A clip that int8 answers otherwise; classes by index, with sigmoid outputs those that are on.

    `margin` is in logits; `lost` says whether it is above the tolerance, on a clip that counts.
    """

    clip: str
    reference: tuple[int, ...]
    int8: tuple[int, ...]
    margin: float
    lost: bool


@dataclass(frozen=True)
class Pairs:
    """Clips that one of the two answers rightly and the other wrongly, and McNemar's p."""

    only_reference: int
    only_int8: int
    p: float


@dataclass(frozen=True)
class Judgment:
    """What is known of an int8 file on one engine.

    `clips` is how many count. `at_least` and `at_most` bound the share of answers that int8 loses.
    `more_clips` is how many further ones would prove the file if they went like these, None where
    no number would. `drift` is the change on generated clips, a share of their logits' size.
    `margins` and `after` are the margins of the clips that count, in the reference and in int8
    (below 0: flipped). `reasons` say why the file is not proven.
    """

    outcome: Outcome
    clips: int
    flips: tuple[Flip, ...]
    losses: int
    tolerance: float
    at_least: float
    at_most: float
    max_drop: float
    more_clips: int | None
    pairs: Pairs | None
    drift: float
    margins: tuple[float, ...]
    after: tuple[float, ...]
    reasons: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line: how many clips are answered alike, and what that says."""
        if not self.clips:
            return f"{self.outcome}: no clip kept back tells anything"
        alike = self.clips - sum(after < 0 for after in self.after)
        narrow = self.clips - alike - self.losses
        flips = f", {narrow} flipped within noise" * bool(narrow) + (
            f", {self.losses} lost" * bool(self.losses)
        )
        return (
            f"{self.outcome}: {alike} of {self.clips} clips alike{flips}; int8 loses at most "
            f"{self.at_most:.1%} of answers (allowed {self.max_drop:.1%})"
        )


def judge(kept: Answers, generated: Answers, evidence: Evidence, *, max_drop: float) -> Judgment:
    """Judge an int8 file by the clips kept back and by generated ones, as the module says."""
    alike = one_answer(kept, evidence.counts)
    counts = evidence.counts & (not alike)
    margins, after = _margins(kept)
    tolerance = _tolerance(margins[counts], after[counts])
    flips = _flips(kept, evidence.names, margins, lost=counts & (margins > tolerance))
    losses, clips = sum(flip.lost for flip in flips), int(counts.sum())
    found = Judgment(
        outcome=Outcome.PROVEN,
        clips=clips,
        flips=flips,
        losses=losses,
        tolerance=tolerance,
        at_least=lower_bound(losses, clips),
        at_most=upper_bound(losses, clips),
        max_drop=max_drop,
        more_clips=clips_to_go(losses, clips, max_drop),
        pairs=None if evidence.labels is None else _pairs(kept, evidence.labels, counts),
        drift=drift(generated),
        margins=tuple(margins[counts].tolist()),
        after=tuple(after[counts].tolist()),
    )
    if worse := _worse(found):
        return replace(found, outcome=Outcome.WORSE, reasons=worse)
    if unproven := _one_answer(evidence, alike=alike) + _unproven(found):
        return replace(found, outcome=Outcome.UNPROVEN, reasons=unproven)
    return found


def one_answer(kept: Answers, counts: NDArray[np.bool_]) -> bool:
    """Return whether the reference answers all clips that count alike: any dead file would too."""
    return len(np.unique(_decided(kept.reference, kept.activation)[counts], axis=0)) < 2


def upper_bound(losses: float, clips: float) -> float:
    """Return the share that `losses` of `clips` do not exceed, with 95 % confidence.

    >>> round(upper_bound(0, 299), 4), round(upper_bound(1, 48), 4), upper_bound(0, 0)
    (0.01, 0.0951, 1.0)
    """
    return 1.0 if losses >= clips else float(betaincinv(losses + 1, clips - losses, CONFIDENCE))


def lower_bound(losses: float, clips: float) -> float:
    """Return the share that `losses` of `clips` do not fall short of, with 95 % confidence.

    >>> round(lower_bound(3, 48), 4), lower_bound(0, 48)
    (0.0173, 0.0)
    """
    if not losses:
        return 0.0
    return float(betaincinv(losses, clips - losses + 1, 1 - CONFIDENCE))


def clips_to_go(losses: int, clips: int, max_drop: float) -> int | None:
    """Return how many more clips prove the bound at this rate of losses; None if none would.

    >>> clips_to_go(0, 48, 0.01), clips_to_go(1, 48, 0.01), clips_to_go(0, 400, 0.01)
    (251, None, 0)
    """
    rate = losses / max(clips, 1)
    if rate >= max_drop:
        return None
    low, high = clips, _MOST_CLIPS
    while low < high:
        middle = (low + high) // 2
        enough = middle > 0 and upper_bound(rate * middle, middle) <= max_drop
        low, high = (low, middle) if enough else (middle + 1, high)
    return None if low == _MOST_CLIPS else low - clips


def mcnemar(only_reference: int, only_int8: int) -> float:
    """Return the probability of at least so many losses if gains and losses were equally likely.

    >>> mcnemar(5, 0), mcnemar(0, 0), round(mcnemar(8, 2), 4)
    (0.03125, 1.0, 0.0547)
    """
    if not only_reference:
        return 1.0
    return float(betainc(only_reference, only_int8 + 1, 0.5))


def drift(answers: Answers) -> float:
    """Return by how much int8 moves logits, as a share of their size; softmax sees no common part.

    It is infinite where a logit is not a number.
    """
    reference, change = answers.reference, answers.int8 - answers.reference
    if answers.activation == "softmax" and reference.shape[1] > 1:
        reference, change = (x - x.mean(1, keepdims=True) for x in (reference, change))
    size = float(np.linalg.norm(reference)) or 1.0
    moved = float(np.linalg.norm(change)) / size
    return moved if np.isfinite(moved) else float("inf")


def _decided(logits: Logits, activation: Activation) -> NDArray[np.bool_]:
    """Return the answer to each clip, (K, classes): the best class, or those that are on."""
    if activation == "sigmoid":
        return np.greater(logits, 0)
    best: NDArray[np.bool_] = np.eye(logits.shape[1], dtype=bool)[logits.argmax(1)]
    return best


def _margins(kept: Answers) -> tuple[Floats, Floats]:
    """Return the margin of each clip, (K,), in the reference and in int8 (below 0: flipped)."""
    reference, int8 = kept.reference.astype(np.float64), kept.int8.astype(np.float64)
    rows = np.arange(len(reference))
    if kept.activation == "sigmoid":
        flipped, size = (reference > 0) != (int8 > 0), np.abs(reference)
        widest = np.where(flipped, size, -1).argmax(1)
        chosen = np.where(flipped.any(1), widest, size.argmin(1))
        sign = np.where(reference > 0, 1, -1)
        return (sign * reference)[rows, chosen], (sign * int8)[rows, chosen]
    best, answered = reference.argmax(1), int8.argmax(1)
    others = reference.copy()
    others[rows, best] = -np.inf
    rival = np.where(answered == best, others.argmax(1), answered)
    margins, after = (x[rows, best] - x[rows, rival] for x in (reference, int8))
    # A tie that int8 breaks the other way is a flip as well.
    after = np.where((answered != best) & (after == 0), -np.finfo(np.float64).tiny, after)
    return margins, after


def _tolerance(margins: Floats, after: Floats) -> float:
    """Return up to which margin a flip is no loss."""
    if not len(margins):
        return 0.0
    noise = float(np.quantile(np.abs(after - margins), _NOISE_QUANTILE))
    most = _MOST_NOISE * float(np.median(margins))
    return min(noise, most) if np.isfinite(noise) else most


def _flips(
    kept: Answers, names: tuple[str, ...], margins: Floats, *, lost: NDArray[np.bool_]
) -> tuple[Flip, ...]:
    reference, int8 = (_decided(x, kept.activation) for x in (kept.reference, kept.int8))
    return tuple(
        Flip(
            clip=names[i],
            reference=tuple(np.flatnonzero(reference[i]).tolist()),
            int8=tuple(np.flatnonzero(int8[i]).tolist()),
            margin=float(margins[i]),
            lost=bool(lost[i]),
        )
        for i in np.flatnonzero((reference != int8).any(1))
    )


def _pairs(kept: Answers, labels: NDArray[np.int64], counts: NDArray[np.bool_]) -> Pairs:
    rows = np.arange(len(labels))
    reference, int8 = (
        _decided(x, kept.activation)[rows, labels][counts] for x in (kept.reference, kept.int8)
    )
    only = int((reference & ~int8).sum()), int((int8 & ~reference).sum())
    return Pairs(*only, mcnemar(*only))


def _worse(found: Judgment) -> tuple[str, ...]:
    """Return what shows that a file is worse than the checkpoint."""
    reasons = []
    if found.at_least > found.max_drop:
        reasons.append(
            f"it loses {found.losses} of {found.clips} answers, so at least {found.at_least:.1%} "
            f"({CONFIDENCE:.0%} confidence), allowed {found.max_drop:.1%}"
        )
    pairs = found.pairs
    if pairs is not None and pairs.p < 1 - CONFIDENCE:
        reasons.append(
            f"of clips with classes it is wrong on {pairs.only_reference} that the checkpoint has "
            f"right, and right on {pairs.only_int8} that it has wrong (McNemar p = {pairs.p:.3f})"
        )
    return tuple(reasons)


def _one_answer(evidence: Evidence, *, alike: bool) -> tuple[str, ...]:
    if not alike or not evidence.counts.any():
        return ()
    return (
        f"the checkpoint gives all {evidence.counts.sum()} clips kept back one answer, as a dead "
        "file would; add clips of other classes",
    )


def _unproven(found: Judgment) -> tuple[str, ...]:
    """Return what a proof lacks."""
    reasons = []
    if not found.clips:
        reasons.append(
            f"no clip kept back counts as evidence; {found.more_clips or 'more'} that show "
            "something would prove it"
        )
    elif found.at_most > found.max_drop:
        lost = f"{found.losses} of {found.clips} clips that count are lost"
        if found.more_clips is None:
            more = "at this rate more clips would not prove it"
        else:
            more = f"{found.more_clips} more like these would prove it"
        reasons.append(
            f"{lost}, so it may lose up to {found.at_most:.1%} of answers ({CONFIDENCE:.0%} "
            f"confidence), allowed {found.max_drop:.1%}; {more}"
        )
    if not found.drift <= MOST_DRIFT:
        reasons.append(
            f"on generated clips its logits move by {found.drift:.0%} of their size (at most "
            f"{MOST_DRIFT:.0%}): the clips to calibrate on show too little of what may come"
        )
    return tuple(reasons)
