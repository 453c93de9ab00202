"""`edge-tsm health`: is a run ready? For a container's HEALTHCHECK, and for service managers."""

from __future__ import annotations

import json
import time

import click
import cloup

from edge_tsm.errors import SourceError
from edge_tsm.system.printable import printable

DEFAULT = "http://127.0.0.1:9109/readyz"
MOST_BYTES = 1 << 20
PAUSE_S = 0.5


@cloup.command()
@click.argument("url", default=DEFAULT)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Seconds for each answer.",
)
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0.0, help="Ask again for so many seconds."
)
def health(url: str, timeout: float, wait: float) -> None:
    """Ask a run with --metrics or --page whether it is ready; exit with 0 if it is.

    URL is http://127.0.0.1:9109/readyz by default; /livez says whether the run turns its loop at
    all, whatever its cameras do.
    """
    until_s = time.monotonic() + wait
    while (problem := _problem(url, timeout)) and time.monotonic() + PAUSE_S < until_s:
        time.sleep(PAUSE_S)
    if problem:
        raise SourceError(problem)
    click.echo("ready")


def _problem(url: str, timeout_s: float) -> str:
    """Return what is wrong, "" if nothing is."""
    if not url.startswith(("http://", "https://")):
        return f"{printable(url)}: pass an http:// address"
    import urllib.error
    import urllib.request  # slow to load, and no other command needs it

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"not ready: {_troubles(error.read(MOST_BYTES)) or error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"{printable(url)}: {getattr(reason, 'strerror', None) or reason}"


def _troubles(body: bytes) -> str:
    try:
        troubles = json.loads(body)["troubles"].items()
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return printable("; ".join(f"{source}: {trouble}" for source, trouble in troubles))
