"""The options by which `convert` quantizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_tsm.errors import InputError

_OPTIONS = (
    click.option("--int8", "int8", is_flag=True, help="Also int8; needs --calibrate."),
    click.option(
        "--calibrate",
        "calibration",
        type=click.Path(path_type=Path),
        metavar="CLIPS",
        help="Int8: folder or list of real clips; every fourth is kept back to judge by.",
    ),
    click.option(
        "--holdout",
        type=click.Path(path_type=Path),
        metavar="CLIPS",
        help="Int8: clips to judge by, instead of every fourth.",
    ),
    click.option(
        "--keep-float",
        metavar="auto|none|LAYER,…",
        default="auto",
        show_default=True,
        help="Int8: layers that stay float; auto finds them if --max-drop needs it.",
    ),
    click.option(
        "--max-drop",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.01,
        show_default=True,
        help="Int8: share of clips that may be answered otherwise.",
    ),
    click.option(
        "--reduce-range", is_flag=True, help="Int8: 7-bit weights, for x86 CPUs without VNNI."
    ),
    click.option("--tensorrt", is_flag=True, help="Int8: also a file in TensorRT's form."),
)


def int8_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --int8 and what goes with it; read by `collect_int8`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def collect_int8(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the int8 options out of a command's arguments; empty without --int8.

    Raises:
        InputError: --int8 without --calibrate, or one of the others without --int8.
    """
    wanted = arguments.pop("int8")
    names = ("calibration", "holdout", "keep_float", "max_drop", "reduce_range", "tensorrt")
    found = {name: arguments.pop(name) for name in names}
    if not wanted:
        if any(found[name] for name in ("calibration", "holdout", "reduce_range", "tensorrt")):
            raise InputError("--calibrate and what goes with it are for --int8; add that")
        return {}
    if found["calibration"] is None:
        raise InputError(
            "--int8 needs --calibrate CLIPS: the ranges of activations are measured on real clips "
            "of what the model will see; ranges from noise make wrong answers"
        )
    if found["keep_float"] not in ("auto", "none"):
        found["keep_float"] = tuple(n.strip() for n in found["keep_float"].split(",") if n.strip())
    return found
