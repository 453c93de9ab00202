"""Which artifact of a bundle is the fastest that answers as at conversion, tried on this machine.

Done once per bundle and machine: what it needs is not imported at every start.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import AnswerError, BackendError, DamageError, VerificationError
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.variants import Variant

# A variant replaces one earlier in order only if it is faster by this factor: timings vary.
_CLEARLY_FASTER = 0.9
_TIMED_RUNS = 5
PROVEN = "f32"  # the arithmetic in which answers were proven
_log = logging.getLogger("edge_tsm")


def fastest(bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions) -> Variant:
    """Return the fastest variant that passes its golden check here, with its reason in the log.

    Raises:
        BackendError, DamageError: none can be opened.
        VerificationError: none passes.
    """
    golden = Golden.read(bundle)
    trials: list[_Trial] = []
    failed: BackendError | DamageError | None = None
    best: _Trial | None = None
    for variant in found:
        try:
            trial = _try(bundle, card, variant, golden, options)
        except (BackendError, DamageError) as error:
            failed = failed or error
            if isinstance(error, (AnswerError, DamageError)):
                _log.warning("%s is passed over: %s", variant, error)
            continue
        trials.append(trial)
        if not trial.agrees:
            _log.warning("%s: %s does not answer as at conversion here", bundle, variant)
        elif best is None or trial.time_ms < _CLEARLY_FASTER * best.time_ms:
            best = trial
    if best is not None:
        _log.info("%s: chose %s, %.1f ms a run", bundle, best.variant, best.time_ms)
        return best.variant
    if failed and not trials:
        raise failed
    return _least_bad(bundle, trials, options)


def _least_bad(bundle: Path, trials: Sequence[_Trial], options: RuntimeOptions) -> Variant:
    """Return the first variant that keeps its top-1 in an arithmetic that was asked for.

    Raises:
        VerificationError: the arithmetic is that of the proof, or the answers are others.
    """
    for trial in trials:
        if options.precision != PROVEN and trial.measured.top1_agreement == 1:
            name, precision = trial.variant, options.precision
            _log.warning("no variant passes its golden check in %s; using %s", precision, name)
            return trial.variant
    raise VerificationError(
        f"{bundle}: no artifact answers its golden clips here as at conversion; `edge-tsm verify` "
        "shows how far off they are; --variant NAME runs one all the same"
    )


@dataclass(frozen=True)
class _Trial:
    """How a variant answers the golden clips, and the median time of a run."""

    variant: Variant
    measured: Verification
    time_ms: float = math.inf

    @property
    def agrees(self) -> bool:
        return self.measured.max_rel_diff <= self.measured.tolerance


def _try(
    bundle: Path, card: Card, variant: Variant, golden: Golden, options: RuntimeOptions
) -> _Trial:
    """Answer the golden clips with a variant; it is timed if it answers as it should."""
    name = variant.file.path
    tolerance = card.verification[name].tolerance
    with open_variant(bundle, card, variant, options) as recognizer:
        trial = _Trial(variant, golden.replay(recognizer, tolerance=tolerance, file=name))
        if not trial.agrees:
            return trial
        clip = list(golden.clips[0])
        times_ms = [recognizer.predict(clip).inference_ms for _ in range(_TIMED_RUNS)]
        return replace(trial, time_ms=statistics.median(times_ms))
