"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.backends import ENGINES, RuntimeOptions, find_engine
from edge_tsm.bundle.card import CARD_FILE
from edge_tsm.cli.messages import Messages, messages_to_stderr
from edge_tsm.errors import CardError
from edge_tsm.inference.loading import local_bundle
from edge_tsm.system.printable import printable

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _known_engine(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    """Return the name of an engine of edge-tsm, or of one that another package brings."""
    if name is None or find_engine(name) is not None:
        return name
    raise click.BadParameter(f"{name!r} is not an engine here; choose {' or '.join(ENGINES)}")


engine_option: Decorator = click.option(
    "--engine",
    callback=_known_engine,
    metavar=f"[{'|'.join(ENGINES)}]",
    help="Default: any installed one.",
)
threads_option: Decorator = click.option(
    "--threads", type=click.IntRange(1, 1024), help="CPU threads. [default: cores]"
)
_RUNTIME: tuple[Decorator, ...] = (
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        help="cpu, gpu (Intel iGPU), auto, cuda, tensorrt, or a name OpenVINO lists.",
    ),
    threads_option,
    click.option(
        "--precision",
        type=click.Choice(["f32", "f16", "bf16", "int8"]),
        default="f32",
        show_default=True,
        help="Arithmetic the engine may use.",
    ),
    click.option(
        "--cache-dir", type=click.Path(path_type=Path), help="Where compiled engines are kept."
    ),
)


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --engine, --device, --threads, --precision, --cache-dir; read by `collect`."""
    group: Decorator = cloup.option_group("Engine", engine_option, *_RUNTIME)
    return group(command)


def grouped(name: str, kind: type, options: Sequence[Decorator], *, title: str = "") -> Decorator:
    """Return what adds options to a command, which gets their values as one `kind` under `name`.

    Help shows them under a `title`.
    """
    names = [field.name for field in fields(kind)]

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def parsed(**arguments: Any) -> Any:
            own = {name: arguments.pop(name) for name in names}
            return command(**arguments, **{name: kind(**own)})

        return cloup.option_group(title, *options)(parsed) if options else parsed

    return add


def collect(arguments: dict[str, Any]) -> RuntimeOptions:
    """Take the runtime options that a command has out of its arguments."""
    names = [option.name for option in fields(RuntimeOptions) if option.name in arguments]
    return RuntimeOptions(**{name: arguments.pop(name) for name in names})


class _AddressOrPath(click.Path):
    """A path, or the address of a model, which stays text: a path would lose its slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path or a str."""
        if isinstance(value, str) and "://" in value:
            return value
        return super().convert(value, param, ctx)


ADDRESS = _AddressOrPath(path_type=Path)


def fetched(bundle: str | Path) -> Path:
    """Return where a bundle is on this machine; what is elsewhere is downloaded, and that is told.

    Raises:
        HubError: it cannot be downloaded.
    """
    shown = any(isinstance(h, Messages) for h in logging.getLogger("edge_tsm").handlers)
    with nullcontext() if shown else messages_to_stderr():
        return local_bundle(bundle)


def find_bundle(bundle: str | Path | None) -> Path:
    """Return the bundle named, or the only one in the current folder, and say so.

    Raises:
        CardError: none or several there.
        HubError: it is elsewhere, and cannot be downloaded.
    """
    if bundle is not None:
        return fetched(bundle)
    if Path(CARD_FILE).is_file():
        return Path()
    found = sorted(card.parent for card in Path().glob(f"*/{CARD_FILE}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CardError(f"no BUNDLE given, and the bundles in this folder are: {names}")
    click.echo(f"bundle {printable(str(found[0]))}", err=True)
    return found[0]
