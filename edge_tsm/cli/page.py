"""Options of the page: where it is, and who may see and change what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_tsm.cli.options import Decorator, grouped
from edge_tsm.errors import InputError
from edge_tsm.sinks import SINKS, SinkRequest
from edge_tsm.system.printable import printable

if TYPE_CHECKING:
    from edge_tsm.service.web.page import Page

DEFAULT = "127.0.0.1:8765"
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True)
class PageOptions:
    """Where the page is, as the options below say."""

    page: str | None = None
    page_token: str | None = None
    page_tls: tuple[Path, Path] | None = None
    page_host: tuple[str, ...] = ()
    page_read_only: bool = False
    keep_logits: float = 6.0

    def requests(self, *, live: bool) -> list[SinkRequest]:
        """Return the sinks that a page needs beside itself.

        Raises:
            InputError: a page of recordings.
        """
        if self.page is None:
            return []
        if not live:
            raise InputError("--page is for live sources")
        hours = f"{self.keep_logits:g}"
        return [SinkRequest(SINKS["logits"], hours, "--keep-logits")] if self.keep_logits else []

    def open(self, stack: ExitStack) -> Page | None:
        """Return the page that is asked for; it listens, and `stack` closes it.

        Raises:
            InputError: its port is in use, or it would be open to everyone.
        """
        if self.page is None:
            return None
        page, told = _open(self)
        stack.callback(page.close)
        for line in told:
            click.echo(printable(line), err=True)
        return page


def _open(options: PageOptions) -> tuple[Page, Sequence[str]]:
    """Return the page and what is to be told of it."""
    try:
        from edge_tsm.service.web.address import Address
        from edge_tsm.service.web.page import Page
        from edge_tsm.service.web.security import Access, find_token, token_path
        from edge_tsm.service.web.server import WebServer
    except ImportError as error:
        raise InputError(f"--page needs more: pip install 'edge-tsm[page]' ({error})") from error
    assert options.page is not None
    if Path(options.page).is_dir():
        raise InputError(f"--page {options.page}: BUNDLE goes before --page, or write --page=HOST")
    address = Address.parse(options.page)
    token, made = "", None
    if options.page_token is not None or not address.is_loopback:
        token, made = find_token(options.page_token)
    access = Access(
        address, token, options.page_host, options.page_read_only, options.page_tls is not None
    )
    server = WebServer(access, tls=options.page_tls)
    told = _told(server.url, token, made, str(options.page_token or token_path()))
    if not (address.is_loopback or access.secure):
        told.append(
            "what is seen there, and the token, go over the network in clear; see --page-tls"
        )
    return Page(server), told


def _told(url: str, token: str, made: Path | None, kept: str) -> list[str]:
    """Return where the page is; the token is told once, when it was made."""
    if not token:
        return [f"page at {url}"]
    if made is not None:
        return [f"page at {url}#token={token}", f"this is told once; the token is kept in {made}"]
    return [f"page at {url}; its token is that of {kept}"]


_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--page",
        is_flag=False,
        flag_value=DEFAULT,
        metavar="[HOST:PORT]",
        help=f"Live: a web page that shows the run and tunes it. [{DEFAULT}]",
    ),
    click.option(
        "--page-token",
        metavar="env:NAME|file:PATH",
        help="What people have to know. [default: none on this machine, else one that is made]",
    ),
    click.option("--page-tls", nargs=2, type=_FILE, metavar="CERT KEY", help="Serve it by https."),
    click.option(
        "--page-host",
        multiple=True,
        metavar="NAME",
        help="Further name that it is reached by; repeatable.",
    ),
    click.option("--page-read-only", is_flag=True, help="Show, and let nothing be changed."),
    click.option(
        "--keep-logits",
        type=click.FloatRange(0, 168),
        default=PageOptions.keep_logits,
        show_default=True,
        help="Hours of answers that the page tries rules on; 0: none.",
    ),
)


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the page; the command gets `page`, a `PageOptions`."""
    return grouped("page", PageOptions, _OPTIONS, title="A page that shows the run")(command)
