"""The options by which `convert` quantizes."""

from __future__ import annotations

from pathlib import Path

import click

from edge_tsm.cli.options import Decorator


def _layers(_ctx: click.Context, _param: click.Parameter, text: str) -> str | tuple[str, ...]:
    if text in ("auto", "none"):
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip())


# But for `quantize` these are fields of `converters.Int8`.
INT8_OPTIONS: tuple[Decorator, ...] = (
    click.option("--int8", "quantize", is_flag=True, help="Also int8; needs --calibrate."),
    click.option(
        "--calibrate",
        "calibration",
        type=click.Path(path_type=Path),
        metavar="CLIPS",
        help="Folder or list of real clips; half, at most 32, calibrate, the others judge.",
    ),
    click.option(
        "--holdout",
        type=click.Path(path_type=Path),
        metavar="CLIPS",
        help="Clips to judge by, instead of those.",
    ),
    click.option(
        "--keep-float",
        metavar="auto|none|LAYER,…",
        callback=_layers,
        default="auto",
        show_default=True,
        help="Layers that stay float; auto finds them if int8 is worse without.",
    ),
    click.option(
        "--max-drop",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.01,
        show_default=True,
        help="Share of answers int8 may lose; 299 clips without a loss prove 0.01, 59 prove 0.05.",
    ),
    click.option("--reduce-range", is_flag=True, help="7-bit weights, for x86 CPUs without VNNI."),
    click.option("--tensorrt", is_flag=True, help="Also a file in TensorRT's form."),
)
