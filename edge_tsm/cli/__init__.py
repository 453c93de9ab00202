"""The `edge-tsm` command: one file per subcommand; errors become one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, NoReturn

import click
import cloup

from edge_tsm.cli.bench import bench
from edge_tsm.cli.configuration import config_command
from edge_tsm.cli.convert import convert
from edge_tsm.cli.demo import demo
from edge_tsm.cli.doctor import doctor
from edge_tsm.cli.evaluate import evaluate_command
from edge_tsm.cli.frames import frames
from edge_tsm.cli.health import health
from edge_tsm.cli.info import info
from edge_tsm.cli.push import push
from edge_tsm.cli.run import run
from edge_tsm.cli.scan import scan_command
from edge_tsm.cli.verify import verify
from edge_tsm.errors import EdgeTsmError
from edge_tsm.system.printable import PrintableStream, printable, write_control
from edge_tsm.system.redact import redact

INTERRUPTED = 130


class _Commands(cloup.Group):
    """The only place that catches EdgeTsmError; `--debug` lets it through with its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminate)
        _mend_streams()
        try:
            return super().invoke(ctx)
        except EdgeTsmError as error:
            if ctx.params["debug"]:
                raise
            _print_error(error)
            ctx.exit(error.exit_code)
        except click.ClickException as error:
            vars(error)["message"] = printable(
                redact(error.message or "")
            )  # it may quote an address
            raise
        except BrokenPipeError:
            raise  # click ends quietly when the reader has gone
        except OSError as error:
            _print_error(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("edge-tsm: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _print_error(error: Exception) -> None:
    """Print one line, over a progress line."""
    if sys.stderr.isatty():
        write_control(sys.stderr, "\r\033[K")
    click.echo(f"edge-tsm: error: {printable(redact(' '.join(str(error).split())))}", err=True)


def _mend_streams() -> None:
    """Let no text of others control the terminal, and no closed stream or narrow encoding lose an
    answer that took minutes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        if not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))


def _terminate(number: int, _frame: object) -> NoReturn:
    """Turn SIGTERM and SIGHUP into an exit that runs every `finally`: nothing is left behind."""
    raise SystemExit(128 + number)


@cloup.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="edge-tsm")
def main(debug: bool) -> None:
    """Put Temporal Shift Module (TSM) video classifiers on edge devices."""


main.section("Answers", demo, run, scan_command, config_command)
main.section("Models", convert, info, verify, bench, push)
main.section("Data", frames, evaluate_command)
main.section("This machine", doctor, health)
