"""A run's file on the command line: `run --config FILE`, `config check FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from click.core import ParameterSource

from edge_tsm.cli.options import Decorator
from edge_tsm.sources import scheme_of
from edge_tsm.system.printable import printable
from edge_tsm.system.secrets import resolve

if TYPE_CHECKING:
    from edge_tsm.service.config import RunConfig

_RENAMED = {"json": "as_json"}  # where the name of a key is not that of the parameter
_OF_PAGE = {
    "address": "page",
    "token": "page_token",
    "tls": "page_tls",
    "hosts": "page_host",
    "read_only": "page_read_only",
    "keep_logits": "keep_logits",
}
_PATH_KEY = "edge_tsm.config"


def defaults(config: RunConfig) -> dict[str, Any]:
    """Return a file's values as a command line would give them, by parameter."""
    from edge_tsm.service.config import option_values

    values = {_RENAMED.get(key, key): value for key, value in option_values(config).items()}
    values |= {_OF_PAGE[key]: v for key, v in vars(config.page).items() if v not in (None, ())}
    for key, separator in (("size", "x"), ("crop", ",")):
        if key in values:
            values[key] = separator.join(map(str, values[key]))
    if "rotate" in values:
        values["rotate"] = str(values["rotate"])
    if "thresholds" in values:
        pairs = values["thresholds"].items()
        values["thresholds"] = [f"{label}={pair.on}/{pair.off}" for label, pair in pairs]
    if config.sinks:
        values["sinks"] = [text for item in config.sinks.items() for text in _sink_texts(*item)]
    return values


def _sink_texts(name: str, value: str | bool | tuple[str, ...]) -> list[str]:
    if isinstance(value, bool):
        return [name]
    return [f"{name}={one}" for one in ((value,) if isinstance(value, str) else value)]


def _read(ctx: click.Context, _param: click.Parameter, path: Path | None) -> RunConfig | None:
    """Read the file before all other options, whose defaults it gives."""
    if path is None:
        return None
    from edge_tsm.service.config import read_config  # slow to import; most runs have no file

    config = read_config(path)
    ctx.meta[_PATH_KEY] = path
    ctx.default_map = {**(ctx.default_map or {}), **defaults(config)}
    return config


config_option: Decorator = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=_read,
    help="TOML file with all of this; options given here go before it.",
)


def config_path() -> Path | None:
    """Return the file of the run."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_PATH_KEY) if context else None


def is_given(name: str) -> bool:
    """Return whether a parameter stands on the command line, which goes before a file."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source(name) if context else None
    return source is ParameterSource.COMMANDLINE


@cloup.group("config")
def config_command() -> None:
    """Look after the file of a run."""


@config_command.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE: its keys and values, that its secrets are there, and that sources are known."""
    from edge_tsm.service.config import read_config

    config = read_config(file)
    for text in config.secrets():
        resolve(text)
    addresses = config.addresses()
    for address in addresses.values():
        scheme_of(address)
    names = ", ".join(addresses) or "none"
    click.echo(f"{printable(str(file))}: all is well; sources: {names}")
