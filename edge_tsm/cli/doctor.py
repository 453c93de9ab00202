"""`edge-tsm doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.cli.options import ADDRESS, collect, fetched
from edge_tsm.cli.table import layout
from edge_tsm.diagnostics.doctor import check_bundle, examine
from edge_tsm.system.jsontext import to_json

PROBLEM_CODE = 1


@cloup.command()
@click.argument("bundle", required=False, type=ADDRESS)
@click.option(
    "--device", default="cpu", show_default=True, help="Where BUNDLE's golden clips are replayed."
)
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Where engines are kept.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of the findings.")
@click.pass_context
def doctor(
    ctx: click.Context, /, bundle: str | Path | None, as_json: bool, **arguments: Any
) -> None:
    """Check Python, OpenCV, engines, processor, cameras, cache, and BUNDLE.

    Each line is ok, warning or problem, with the remedy. A problem exits with 1.
    """
    options = collect(arguments)
    findings = list(examine(options.cache_dir))
    if bundle is not None:
        findings += check_bundle(fetched(bundle), options)
    if as_json:
        click.echo(to_json([asdict(finding) for finding in findings], indent=1))
    else:
        rows = [
            (f.status, f.name, f.found + (f" → {f.remedy}" if f.remedy else "")) for f in findings
        ]
        click.echo("\n".join(layout(rows)))
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(PROBLEM_CODE)
