"""`edge-tsm convert`: the command over `converters`, which needs torch."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import cloup

from edge_tsm.cli.int8 import INT8_OPTIONS
from edge_tsm.cli.messages import messages_to_stderr
from edge_tsm.cli.options import ADDRESS, Decorator
from edge_tsm.cli.table import layout
from edge_tsm.errors import ConversionError, IncompleteError, InputError
from edge_tsm.system.printable import printable, write_control

if TYPE_CHECKING:
    from converters import Int8, Options, Settings
    from converters.recipe import Recipe

T = TypeVar("T")
_SILENCE_S = 10.0


def _facts(given: Iterable[str]) -> dict[str, str | int]:
    """Return facts by name; digits are a number."""
    found: dict[str, str | int] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, as alpha=8")
        found[name] = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value
    return found


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


# Fields of `converters.Options`.
_CHECKPOINT: tuple[Decorator, ...] = (
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE|SET",
        help="Class names: a file of any form, or a data set's, as kinetics400.",
    ),
    click.option("--segments", type=int, help="Frames per clip (8, 16)."),
    click.option("--backbone", help="Name of the network, where weights fit more than one."),
    click.option(
        "--fact",
        "own",
        metavar="NAME=VALUE",
        multiple=True,
        callback=lambda context, option, given: _facts(given),
        help="What only some networks have, as alpha=8; an error asks for what is missing.",
    ),
    click.option("--shift-div", type=int, help="1/DIV of the channels go each way."),
    click.option(
        "--shift-segments",
        type=int,
        help="Frames shifted together, if not all (mmaction2 MobileOne).",
    ),
    click.option(
        "--shift-direction",
        type=click.Choice(["future-past", "past-future", "past"]),
        help="Where the folds come from; past for a one-way network.",
    ),
    click.option(
        "--shift-place",
        type=click.Choice(["blockres", "block", "none"]),
        help="Where frames are shifted, if neither names nor args say; none: TSN, image network.",
    ),
    click.option(
        "--weights",
        metavar="NAME",
        help="Which network of a file with several: ema, raw, or a key in the file.",
    ),
    click.option("--consensus", help="avg; for a checkpoint that says otherwise."),
    click.option("--color", type=click.Choice(["rgb", "bgr"]), help="Channel order of training."),
    click.option(
        "--activation",
        type=click.Choice(["softmax", "sigmoid"]),
        help="sigmoid: one class, or several at once. [default: as trained, else softmax]",
    ),
    click.option("--window", "window_s", type=float, help="Seconds a live window spans."),
    click.option(
        "--interval",
        type=int,
        help="Frames from one of a clip to the next (SlowFast, TimeSformer); 8x32 means 32.",
    ),
    click.option(
        "--size",
        type=int,
        metavar="PX",
        help="Side of the pictures: 112, 160, 224, 256, 320, … [default: as trained, else 224]",
    ),
    click.option(
        "--full-res",
        is_flag=True,
        help="Show the whole short side, as upstream's test option: 256 for 224.",
    ),
    click.option(
        "--non-local-mode",
        type=click.Choice(["embedded_gaussian", "dot_product"]),
        help="mmaction2: what its config says.",
    ),
    click.option(
        "--from",
        "kind",
        metavar="NAME",
        help="Code base of the checkpoint: mit, mmaction2, paddle, … [default: by its keys]",
    ),
    click.option(
        "--batch",
        type=int,
        default=1,
        show_default=True,
        help="Clips (or online streams) per run.",
    ),
    click.option("--dynamic-batch", is_flag=True, help="Any number of them per run; for servers."),
)
_ONLINE: tuple[Decorator, ...] = (
    click.option("--online", is_flag=True, help="One frame in, one answer out; state is carried."),
    click.option(
        "--force-online", is_flag=True, help="The same of a network trained to see ahead."
    ),
    click.option("--fps", type=float, help="Steps per second."),
    click.option("--horizon", type=int, help="Steps whose logits an answer averages."),
)
# Fields of `converters.Settings`.
_BUNDLE: tuple[Decorator, ...] = (
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="Bundle folder. [default: NAME.bundle]",
    ),
    click.option("--force", is_flag=True, help="Replace an existing bundle."),
    click.option(
        "--clips", type=click.Path(path_type=Path), help="Folder of real clips to check with too."
    ),
    click.option(
        "--rules", metavar="FILE", help="TOML file or preset by which `run --actions` decides."
    ),
    click.option("--fp16", "f16", is_flag=True, help="Also files with 16-bit weights."),
    click.option(
        "--no-ir", "ir", flag_value=False, default=True, help="ONNX only, for both engines."
    ),
    click.option(
        "--target",
        "targets",
        metavar="ENGINE",
        multiple=True,
        help="Also a file for another engine: mnn, litert. May be repeated.",
    ),
    click.option(
        "--only",
        metavar="NAME,…",
        callback=lambda context, option, text: _names(text),
        help="Keep these artifacts alone, as onnx-int8, for small disks; a wrong name lists all.",
    ),
    click.option(
        "--opset",
        type=int,
        default=17,
        show_default=True,
        help="ONNX operator set, 11 to 20 (int8: 13 to 17); 17 is what TensorRT 8.6 reads.",
    ),
)


_EXAMPLES = """\b
Examples:
  edge-tsm convert ckpt.best.pth.tar --labels category.txt
  edge-tsm convert ckpt.pth -o gestures.bundle --int8 --calibrate clips/
  edge-tsm convert mobilenetv2_jester_online.pth.tar --online
"""


@cloup.command(epilog=_EXAMPLES)
@click.argument("address", metavar="CHECKPOINT", type=ADDRESS)
@cloup.option_group("What the weights cannot tell", *_CHECKPOINT)
@cloup.option_group("Online form", *_ONLINE)
@cloup.option_group("Int8", *INT8_OPTIONS)
@cloup.option_group("The bundle", *_BUNDLE)
def convert(address: str | Path, output: Path | None, **given: Any) -> None:
    """Turn CHECKPOINT into a bundle: ONNX and OpenVINO IR, proven equal to it.

    It is a file, or a model folder of Hugging Face's transformers (TimeSformer).
    The network is found wherever in the file it lies; topology is read from its weights. What they
    cannot tell comes from an option, else from arguments in the file, else from args.txt beside it,
    else from a TSM_… name of the file or its folder, else a default.
    Nothing is written unless every check of the f32 files passes; int8 or another further file that
    fails is left out, and the exit code is 11.
    """
    try:
        from converters import build, plan
        from converters.planning import default_bundle, local_checkpoint
    except ImportError as error:
        raise ConversionError(
            f"converting needs {error.name or error}: pip install 'edge-tsm[convert]' "
            "(docs/install.md says how to get a torch without CUDA)"
        ) from error
    options, settings = _parse(given)
    with messages_to_stderr():
        checkpoint = local_checkpoint(address)
    planned = plan(checkpoint, options)
    _print_facts(planned.recipe)
    bundle = output or default_bundle(checkpoint)
    try:
        build(planned, bundle, settings, progress=_Progress())
    except IncompleteError:
        _print_next(bundle)
        raise
    _print_next(bundle)


def _parse(given: Mapping[str, Any]) -> tuple[Options, Settings]:
    """Return what the command line says about the checkpoint and about the bundle.

    Raises:
        InputError: int8 options that do not go together.
    """
    from converters import Options, Settings

    return _fill(Options, given), replace(_fill(Settings, given), int8=_int8(given))


def _int8(given: Mapping[str, Any]) -> Int8 | None:
    from converters import Int8

    if not given["quantize"]:
        if any(given[name] for name in ("calibration", "holdout", "reduce_range", "tensorrt")):
            raise InputError("--calibrate and what goes with it are for --int8; add that")
        return None
    if given["calibration"] is None:
        raise InputError(
            "--int8 needs --calibrate CLIPS: the ranges of activations are measured on real clips "
            "of what the model will see; ranges from noise make wrong answers"
        )
    return _fill(Int8, given)


def _fill(kind: Callable[..., T], given: Mapping[str, Any]) -> T:
    """Return a dataclass from the options that are called as its fields."""
    names = [field.name for field in fields(kind) if field.name in given]  # type: ignore[arg-type]
    return kind(**{name: given[name] for name in names})


class _Progress:
    """Prints each step; on a terminal its announcement is replaced by its result.

    Elsewhere an announcement, or how far a step is, is printed after ten seconds of silence.
    """

    def __init__(self) -> None:
        self._printed_s = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print a line, or not."""
        announced, now_s = line.endswith("…"), time.monotonic()
        if sys.stdout.isatty():
            write_control(sys.stdout, "\r\033[K")
            click.echo(line, nl=not announced)
        elif not announced or now_s - self._printed_s >= _SILENCE_S:
            click.echo(line, err=announced or line.startswith("warning"))
            self._printed_s = now_s


def _print_next(bundle: Path) -> None:
    click.echo(f"\n{bundle} is ready. Next:\n  edge-tsm info {bundle}")
    click.echo(f"  edge-tsm run {bundle} --source VIDEO\n  edge-tsm run {bundle} --camera 0")


def _print_facts(recipe: Recipe) -> None:
    """Print fact, value and source."""
    rows = [(name, str(fact.value), fact.source) for name, fact in recipe.facts.rows()]
    click.echo("\n".join(layout([("fact", "value", "from"), *rows])))
    if recipe.labels.reading:
        click.echo(printable(f"labels read from {recipe.labels.reading}"))
    for warning in recipe.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo()
