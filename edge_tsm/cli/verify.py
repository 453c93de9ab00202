"""`edge-tsm verify`: does this machine answer as the checkpoint did?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_tsm.agreement import Golden
from edge_tsm.backends import RuntimeOptions, candidates
from edge_tsm.card import Card, File, Verification, checksum
from edge_tsm.cli.options import collect, runtime_options
from edge_tsm.errors import BackendError, VerificationError
from edge_tsm.recognizer import open_file

AGREE, SKIPPED = "agree", "skipped"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@runtime_options
def verify(bundle: Path, **arguments: Any) -> None:
    """Replay the golden clips of BUNDLE on this machine, with every artefact it can run.

    agree: within the tolerance proven at conversion. drifted: the same top-1, other logits.
    broken: other answers, or a damaged file. Only agreement on all of them exits with 0.
    """
    card, golden = Card.read(bundle), Golden.read(bundle)
    options = collect(arguments)
    engines = candidates(options.device, arguments["engine"])
    entries = {name: file for name, file in card.files.items() if file.engine in engines}
    if not entries:
        raise BackendError(f"{bundle} has no artefact for {' or '.join(engines)}")
    found = {name: _verify(bundle, card, name, golden, options) for name in entries}
    for name, status in found.items():
        click.echo(f"{name:<13} {entries[name].engine} {options.device}: {status}")
    if all(status.startswith(SKIPPED) for status in found.values()):
        raise BackendError(f"no artefact of {bundle} runs on {options.device} like that")
    failed = [name for name, status in found.items() if not status.startswith((AGREE, SKIPPED))]
    if failed:
        raise VerificationError(
            f"{', '.join(failed)} on {options.device}: not what was proven at conversion; use "
            "another device or --precision f32, or copy the bundle again"
        )


def _verify(bundle: Path, card: Card, name: str, golden: Golden, options: RuntimeOptions) -> str:
    """Return one artefact's status in words."""
    file, tolerance = card.files[name], card.verification[name].tolerance
    damage = _damage(bundle, file)
    if damage is not None:
        return damage
    try:
        with open_file(bundle, card, file, options) as recognizer:
            return _status(golden.replay(recognizer, tolerance=tolerance, file=name))
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


def _status(result: Verification) -> str:
    numbers = f"max |Δ| {result.max_rel_diff:.1e} of range, ≤ {result.tolerance:.0e}"
    if result.max_rel_diff <= result.tolerance:
        return f"{AGREE} ({numbers})"
    return f"{'drifted' if result.top1_agreement == 1 else 'broken'} ({numbers})"
