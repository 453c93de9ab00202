"""`edge-tsm verify`: does this machine answer as the checkpoint did?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_tsm.backends import RuntimeOptions, candidates
from edge_tsm.bundle.card import Card, File, Verification, checksum
from edge_tsm.bundle.golden import Golden
from edge_tsm.cli.options import collect, runtime_options
from edge_tsm.errors import BackendError, VerificationError
from edge_tsm.inference.recognizer import open_variant
from edge_tsm.inference.variants import Variant

AGREE, SKIPPED = "agree", "skipped"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@runtime_options
def verify(bundle: Path, **arguments: Any) -> None:
    """Replay the golden clips of BUNDLE on this machine, with every artifact it can run.

    agree: within the tolerance proven at conversion. drifted: the same top-1, other logits.
    broken: other answers, or a damaged file. Only agreement on all of them exits with 0.
    """
    card, golden = Card.read(bundle), Golden.read(bundle)
    options = collect(arguments)
    engines = candidates(options.device, arguments["engine"])
    listed = [Variant(f, e) for f in card.files.values() for e in f.engines if e in engines]
    if not listed:
        raise BackendError(f"{bundle} has no artifact for {' or '.join(engines)}")
    found = [(v, verify_variant(bundle, card, v, golden, options)) for v in listed]
    width = max(len(variant.file.path) for variant in listed)
    for variant, told in found:
        click.echo(f"{variant.file.path:<{width}} {variant.engine} {options.device}: {told}")
    if all(told.startswith(SKIPPED) for _, told in found):
        raise BackendError(f"no artifact of {bundle} runs on {options.device} like that")
    failed = [v.file.path for v, told in found if not told.startswith((AGREE, SKIPPED))]
    if failed:
        raise VerificationError(
            f"{', '.join(failed)} on {options.device}: not what was proven at conversion; use "
            "another device or --precision f32, or copy the bundle again"
        )


def verify_variant(
    bundle: Path, card: Card, variant: Variant, golden: Golden, options: RuntimeOptions
) -> str:
    """Return one artifact's status in words: agree, skipped, drifted or broken come first."""
    name = variant.file.path
    damage = _damage(bundle, variant.file)
    if damage is not None:
        return damage
    try:
        with open_variant(bundle, card, variant, options) as recognizer:
            tolerance = card.verification[name].tolerance
            return status(golden.replay(recognizer, tolerance=tolerance, file=name))
    except BackendError as error:
        return f"{SKIPPED} ({error})"


def _damage(bundle: Path, file: File) -> str | None:
    for name, wanted in _checksums(file):
        path = bundle / name
        if not path.is_file():
            return f"broken ({name} is missing)"
        if checksum(path) != wanted:
            return f"broken ({name} is not the file that was verified: checksum)"
    return None


def _checksums(file: File) -> Iterator[tuple[str, str]]:
    yield file.path, file.sha256
    yield from file.parts.items()


def status(result: Verification) -> str:
    """Return agree, drifted or broken, with the figures."""
    numbers = f"max |Δ| {result.max_rel_diff:.1e} of range, ≤ {result.tolerance:.0e}"
    if result.max_rel_diff <= result.tolerance:
        return f"{AGREE} ({numbers})"
    return f"{'drifted' if result.top1_agreement == 1 else 'broken'} ({numbers})"
