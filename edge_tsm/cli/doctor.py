"""`edge-tsm doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from edge_tsm.backends import ENGINES, RuntimeOptions, installed
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.cli.table import layout
from edge_tsm.cli.verify import AGREE, SKIPPED, verify_variant
from edge_tsm.diagnostics.doctor import Finding, Status, examine
from edge_tsm.errors import CardError
from edge_tsm.inference.variants import Variant

PROBLEM_CODE = 1


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option(
    "--device", default="cpu", show_default=True, help="Where BUNDLE's golden clips are replayed."
)
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Where engines are kept.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of the findings.")
@click.pass_context
def doctor(
    ctx: click.Context, bundle: Path | None, device: str, cache_dir: Path | None, as_json: bool
) -> None:
    """Check Python, OpenCV, engines, processor, cameras, cache, and BUNDLE.

    Each line is ok, warning or problem, with the remedy. A problem exits with 1.
    """
    findings = list(examine(cache_dir))
    if bundle is not None:
        findings += _bundle(bundle, RuntimeOptions(device=device, cache_dir=cache_dir))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        rows = [
            (f.status, f.name, f.found + (f" → {f.remedy}" if f.remedy else "")) for f in findings
        ]
        click.echo("\n".join(layout(rows)))
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(PROBLEM_CODE)


def _bundle(bundle: Path, options: RuntimeOptions) -> Iterator[Finding]:
    """Replay the golden clips of every artifact that an installed engine reads."""
    try:
        card, golden = Card.read(bundle), Golden.read(bundle)
    except CardError as error:
        yield Finding("problem", "bundle", str(error), "copy it again, or convert again")
        return
    here = [engine for engine in ENGINES if installed(engine)]
    listed = [Variant(f, e) for f in card.files.values() for e in f.engines if e in here]
    if not listed:
        engines = {engine for file in card.files.values() for engine in file.engines}
        remedy = f"install {' or '.join(sorted(engines))}"
        yield Finding("problem", "bundle", "no installed engine reads its artifacts", remedy)
    for variant in listed:
        told = verify_variant(bundle, card, variant, golden, options)
        yield _finding(f"{variant.file.path} {variant.engine}", told)


def _finding(name: str, told: str) -> Finding:
    """Turn verify's words into a finding."""
    remedies: dict[str, tuple[Status, str]] = {
        AGREE: ("ok", ""),
        SKIPPED: ("ok", ""),
        "drifted": ("warning", "pass --precision f32, or use another device"),
    }
    status, remedy = remedies.get(told.split(" ")[0], ("problem", "copy the bundle again"))
    return Finding(status, name, told, remedy)
