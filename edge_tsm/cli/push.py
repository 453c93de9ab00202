"""`edge-tsm push`: publish a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.bundle.modelcard import accuracies_of
from edge_tsm.diagnostics.publishing import prepare, publish
from edge_tsm.errors import InputError
from edge_tsm.system.files import read_bounded

MOST_BYTES = 1 << 28
_EXAMPLES = """\b
Examples:
  edge-tsm push swipes.bundle hf://me/swipes --license apache-2.0 --dry-run
  edge-tsm push swipes.bundle hf://me/swipes@v2 --license mit --evaluation r.json
"""


@cloup.command(epilog=_EXAMPLES)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("address", metavar="hf://ORG/NAME[@BRANCH]")
@click.option(
    "--license",
    "license_id",
    required=True,
    metavar="ID",
    help="What the weights may be used for, as apache-2.0 or cc-by-nc-4.0. Nothing is assumed.",
)
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="A file of `evaluate --json`, whose accuracies the README shows.",
)
@click.option("--private", is_flag=True, help="Make a new model private.")
@click.option("--dry-run", is_flag=True, help="Print the README; upload nothing.")
def push(
    bundle: Path,
    address: str,
    license_id: str,
    evaluation: Path | None,
    private: bool,
    dry_run: bool,
) -> None:
    """Publish BUNDLE on the Hugging Face Hub, with a README made of its card.

    It is verified on this machine first. Others then run it by its address. The token is that of
    `hf auth login` or HF_TOKEN; HF_ENDPOINT names another hub.
    """
    accuracies = accuracies_of(_json(evaluation)) if evaluation else []
    publication = prepare(bundle, address, license_id, accuracies)
    if dry_run:
        click.echo(publication.readme)
        click.echo(f"would upload {', '.join(publication.files)}", err=True)
        return
    click.echo(publish(publication, address, private=private))
    click.echo(f"others run it by: edge-tsm run {address} --source VIDEO", err=True)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_bounded(path, MOST_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable JSON ({error})") from error
