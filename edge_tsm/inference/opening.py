"""Open one artifact of a bundle, with its files checked."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_tsm.backends import ENGINES, RuntimeOptions, engine, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.integrity import checked
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import processor

_log = logging.getLogger("edge_tsm")


def open_variant(
    bundle: Path, card: Card, variant: Variant, options: RuntimeOptions, *, kept: bool = False
) -> Recognizer:
    """Open one artifact that the card of a bundle names, and check its files.

    With `kept`, what the engine makes of it is taken from the user's cache, and kept there.

    Raises:
        DamageError: a file is missing, or not the one that was proven.
        CardError: the file reads others that the card does not list.
        BackendError: engine or device not available, or the file is refused.
    """
    with checked(bundle, variant.file, first=engine(variant.engine).crashes_on_damage):
        checksum = "".join((variant.file.sha256, *variant.file.parts.values())) if kept else None
        path = bundle / variant.file.path
        backend = open_backend(variant.engine, path, options, checksum=checksum)
    if not variant.file.proven:
        _log.warning(
            "%s: too few clips prove its answers; report.md of the bundle says more", variant
        )
    if backend.device == "cpu" and variant.may_saturate(processor()):
        _log.warning(
            "%s: int8 sums may saturate on this CPU (AVX2 without VNNI) and answers drift, unless "
            "converted with --reduce-range; on %s they are exact",
            variant,
            " or ".join(name for name, known in ENGINES.items() if not known.int8_saturates),
        )
    return Recognizer(card, backend, variant)
