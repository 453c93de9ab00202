"""Does this machine answer as was proven at conversion? The golden clips of a bundle say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edge_tsm.backends import RuntimeOptions, candidates
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import AnswerError, BackendError, DamageError
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.variants import Variant


class Status(Enum):
    """How an artifact does on this machine."""

    AGREE = "agree"
    """Its answers are within the tolerance that was proven at conversion."""
    DRIFTED = "drifted"
    """Its logits are further off, its top-1 classes are the same."""
    BROKEN = "broken"
    """It answers other classes, or a file is missing or damaged."""
    SKIPPED = "skipped"
    """It does not run here with these options."""

    @classmethod
    def of(cls, measured: Verification) -> Status:
        """Return the status of golden clips that were answered."""
        if measured.max_rel_diff <= measured.tolerance:
            return cls.AGREE
        return cls.DRIFTED if measured.top1_agreement == 1 else cls.BROKEN


@dataclass(frozen=True)
class Replay:
    """What became of the golden clips on one artifact, engine and device.

    `measured` is how far its answers are from those at conversion, None where it was not run;
    `reason` then says why.
    """

    variant: Variant
    device: str
    status: Status
    measured: Verification | None = None
    reason: str = ""

    @property
    def summary(self) -> str:
        """The status, in parentheses figures or the reason, and whether the file is unproven."""
        unproven = "" if self.variant.file.proven else "; not proven at conversion"
        if self.measured is None:
            return f"{self.status.value} ({self.reason}){unproven}"
        diff, tolerance = self.measured.max_rel_diff, self.measured.tolerance
        return f"{self.status.value} (max |Δ| {diff:.1e} of range, ≤ {tolerance:.0e}){unproven}"


def verify_bundle(
    bundle: Path, options: RuntimeOptions | None = None, *, engine: str | None = None
) -> list[Replay]:
    """Replay the golden clips on every artifact and every engine that may serve the device.

    Raises:
        CardError: not a bundle, or one without golden clips.
        BackendError: no engine for the device is installed, or the bundle has no artifact for one.

    >>> from edge_tsm import demo
    >>> {replay.status for replay in verify_bundle(demo.bundle())}
    {<Status.AGREE: 'agree'>}
    """
    card, golden, options = Card.read(bundle), Golden.read(bundle), options or RuntimeOptions()
    engines = candidates(options.device, engine)
    listed = listed_variants(card, engines)
    if not listed:
        raise BackendError(f"{bundle} has no artifact for {' or '.join(engines)}")
    return [verify_variant(bundle, card, variant, golden, options) for variant in listed]


def listed_variants(card: Card, engines: Iterable[str]) -> list[Variant]:
    """Return every artifact of a card on those of its engines that are among `engines`."""
    return [Variant(f, name) for f in card.files.values() for name in f.engines if name in engines]


def verify_variant(
    bundle: Path, card: Card, variant: Variant, golden: Golden, options: RuntimeOptions
) -> Replay:
    """Check the files of one artifact, and replay the golden clips on it."""
    name = variant.file.path
    try:
        with open_variant(bundle, card, variant, options) as recognizer:
            tolerance = card.verification[name].tolerance
            measured = golden.replay(recognizer, tolerance=tolerance, file=name)
    except (AnswerError, DamageError) as error:
        return Replay(variant, options.device, Status.BROKEN, reason=str(error))
    except BackendError as error:
        return Replay(variant, options.device, Status.SKIPPED, reason=str(error))
    return Replay(variant, options.device, Status.of(measured), measured)
