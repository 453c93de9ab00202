"""`edge-tsm convert`: the command over `converters`, which needs torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tsm.cli.int8 import collect_int8, int8_options
from edge_tsm.cli.table import layout
from edge_tsm.errors import ConversionError

if TYPE_CHECKING:
    from converters.recipe import Recipe


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Bundle folder. [default: NAME.bundle]"
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Class names: one per line, or an official list.",
)
@click.option("--segments", type=int, help="Frames per clip (8, 16).")
@click.option("--shift-div", type=int, help="1/DIV of the channels go each way.")
@click.option(
    "--shift-segments", type=int, help="Frames shifted together, if not all (mmaction2 MobileOne)."
)
@click.option(
    "--shift-direction",
    type=click.Choice(["future-past", "past-future", "past"]),
    help="Where the folds come from; past for a one-way network.",
)
@click.option("--consensus", help="avg; for a checkpoint that says otherwise.")
@click.option("--color", type=click.Choice(["rgb", "bgr"]), help="Channel order of training.")
@click.option("--window", "window_s", type=float, help="Seconds a live window spans.")
@click.option(
    "--non-local-mode",
    type=click.Choice(["embedded_gaussian", "dot_product"]),
    help="mmaction2: what its config says.",
)
@click.option(
    "--from",
    "kind",
    type=click.Choice(["mit", "mmaction2", "paddle"]),
    help="Code base of the checkpoint. [default: by its keys]",
)
@click.option(
    "--batch", type=int, default=1, show_default=True, help="Clips (or online streams) per run."
)
@click.option("--online", is_flag=True, help="One frame in, one answer out; state is carried.")
@click.option("--force-online", is_flag=True, help="The same of a network trained to see ahead.")
@click.option("--fps", type=float, help="Online: steps per second.")
@click.option("--horizon", type=int, help="Online: steps whose logits an answer averages.")
@click.option(
    "--clips", type=click.Path(path_type=Path), help="Folder of real videos to check with too."
)
@click.option(
    "--rules", metavar="FILE", help="TOML file or preset by which `run --actions` decides."
)
@click.option("--fp16", "f16", is_flag=True, help="Also an IR with 16-bit weights.")
@click.option("--no-ir", "ir", flag_value=False, default=True, help="ONNX only, for both engines.")
@int8_options
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
def convert(checkpoint: Path, output: Path | None, **arguments: Any) -> None:
    """Turn CHECKPOINT into a bundle: ONNX and OpenVINO IR, proven equal to it.

    Topology is read from the weights. What they cannot tell comes from an option, else from
    args.txt beside the file, else from a TSM_… name of the file or its folder, else a default.
    Nothing is written unless every check passes.
    """
    try:
        from converters.builder import Settings, build
        from converters.planning import default_bundle, plan
        from converters.quantization.int8 import Int8
        from converters.recipe import Options
    except ImportError as error:
        raise ConversionError(
            f"converting needs {error.name or error}: pip install 'edge-tsm[convert]' (the README "
            "says how to get a torch without CUDA)"
        ) from error
    int8 = collect_int8(arguments)
    settings = Settings(
        **{name: arguments.pop(name) for name in ("f16", "ir", "clips", "rules", "force")},
        int8=Int8(**int8) if int8 else None,
    )
    planned = plan(checkpoint, Options(**arguments))
    _print_facts(planned.recipe)
    bundle = output or default_bundle(checkpoint)
    build(planned, bundle, settings, tell=_tell)
    click.echo(f"\n{bundle} is ready. Next:\n  edge-tsm info {bundle}")
    click.echo(f"  edge-tsm run {bundle} --source VIDEO\n  edge-tsm run {bundle} --camera 0")


def _tell(line: str) -> None:
    """Print a step; on a terminal its announcement is replaced by its result."""
    if not sys.stdout.isatty():
        if not line.endswith("…"):
            click.echo(line, err=line.startswith("warning"))
        return
    click.echo(f"\r\033[K{line}", nl=not line.endswith("…"))


def _print_facts(recipe: Recipe) -> None:
    """Print fact, value and source."""
    rows = [(name, str(fact.value), fact.source) for name, fact in recipe.facts.items()]
    click.echo("\n".join(layout([("fact", "value", "from"), *rows])))
    for warning in recipe.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo()
