"""The `edge-tsm` command: one file per subcommand; errors become one line and an exit code.

The file of a subcommand is imported when it is called: what the others need costs it nothing.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import click
import cloup

from edge_tsm.errors import EdgeTsmError
from edge_tsm.system.printable import PrintableStream, printable, write_control
from edge_tsm.system.redact import redact

INTERRUPTED = 130


@dataclass(frozen=True)
class _Known:
    """A subcommand that is not imported yet: its section, where it is, its line of help."""

    section: str
    module: str
    attribute: str
    help: str

    def stand_in(self, name: str) -> click.Command:
        """Return what stands for it in a list."""
        return click.Command(name, help=self.help)

    def load(self) -> click.Command:
        """Import it."""
        found: click.Command = getattr(importlib.import_module(self.module), self.attribute)
        return found


COMMANDS: dict[str, _Known] = {
    name: _Known(section, f"edge_tsm.cli.{module}", attribute, text)
    for section, commands in {
        "Answers": {
            "demo": (
                "demo",
                "demo",
                "Try the demo model that comes with the package: no checkpoint, no video needed.",
            ),
            "run": (
                "run",
                "run",
                "Classify videos, cameras and streams with BUNDLE (default: the only one here).",
            ),
            "scan": (
                "scan",
                "scan_command",
                "Find the actions in recordings with BUNDLE, as live video would have told of them.",  # noqa: E501
            ),
            "config": ("configuration", "config_command", "Look after the file of a run."),
        },
        "Models": {
            "convert": (
                "convert",
                "convert",
                "Turn CHECKPOINT into a bundle: ONNX and OpenVINO IR, proven equal to it.",
            ),
            "info": ("info", "info", "Print the card of BUNDLE."),
            "verify": (
                "verify",
                "verify",
                "Replay the golden clips of BUNDLE on this machine, with every artifact it can run.",  # noqa: E501
            ),
            "bench": (
                "bench",
                "bench",
                "Time every artifact of BUNDLE on every device of this machine.",
            ),
            "push": (
                "push",
                "push",
                "Publish BUNDLE on the Hugging Face Hub, with a README made of its card.",
            ),
        },
        "Data": {
            "frames": (
                "frames",
                "frames",
                "Cut the videos of SRC into DST/…/img_00001.jpg, with lists as upstream has them.",
            ),
            "evaluate": (
                "evaluate",
                "evaluate_command",
                "Measure BUNDLE (or several, side by side) on the labeled clips of LIST.",
            ),
        },
        "This machine": {
            "doctor": (
                "doctor",
                "doctor",
                "Check Python, OpenCV, engines, processor, cameras, cache, and BUNDLE.",
            ),
            "health": (
                "health",
                "health",
                "Ask a run with --metrics or --page whether it is ready; exit with 0 if it is.",
            ),
        },
    }.items()
    for name, (module, attribute, text) in commands.items()
}


class _Commands(cloup.Group):
    """The only place that catches EdgeTsmError; `--debug` lets it through with its traceback."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        return COMMANDS[cmd_name].load() if cmd_name in COMMANDS else None

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


for _title in dict.fromkeys(known.section for known in COMMANDS.values()):
    main.section(
        _title,
        *(k.stand_in(name) for name, k in COMMANDS.items() if k.section == _title),
    )
