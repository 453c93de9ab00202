"""The `edge-tsm` command: one file per subcommand; errors become one line and an exit code."""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

import click

from edge_tsm.cli.convert import convert
from edge_tsm.cli.info import info
from edge_tsm.cli.run import run
from edge_tsm.cli.verify import verify
from edge_tsm.errors import EdgeTsmError

INTERRUPTED = 130


class _Commands(click.Group):
    """The only place that catches EdgeTsmError; `--debug` lets it through with its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except EdgeTsmError as error:
            if ctx.params["debug"]:
                raise
            start = "\r\033[K" if sys.stderr.isatty() else ""  # over a progress line
            click.echo(f"{start}edge-tsm: error: {' '.join(str(error).split())}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("edge-tsm: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _terminate(number: int, _frame: object) -> NoReturn:
    """Turn SIGTERM into an exit that runs every `finally`, so that nothing is left behind."""
    raise SystemExit(128 + number)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="edge-tsm")
def main(debug: bool) -> None:
    """Put Temporal Shift Module (TSM) video classifiers on edge devices."""


for _command in (convert, run, info, verify):
    main.add_command(_command)
