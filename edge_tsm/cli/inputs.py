"""Options that say where pictures come from, and the sources they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edge_tsm.bundle.card import Card
from edge_tsm.cli.options import Decorator
from edge_tsm.errors import InputError
from edge_tsm.live.capture import CaptureOptions, Retry
from edge_tsm.sources import Replay, Source, SourceOptions, open_source, takes_rate
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, VirtualClock
from edge_tsm.system.redact import redact

REPLAY = "replay:"
_POSITIVE = click.FloatRange(min=0, min_open=True)


def _size(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise click.BadParameter(f"{text!r}: write WIDTHxHEIGHT, as 640x480")
    return int(match[1]), int(match[2])


def _crop(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{text!r}: write LEFT,TOP,WIDTH,HEIGHT in pixels")
    return tuple(map(int, parts))


_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--source", "sources", multiple=True, metavar="SOURCE", help="See above; repeatable."
    ),
    click.option(
        "--camera",
        "cameras",
        multiple=True,
        metavar="CAMERA",
        help="Camera index, device path or stream; repeatable.",
    ),
    click.option("--size", metavar="WxH", callback=_size, help="Asked of cameras; of raw frames."),
    click.option("--fps", type=_POSITIVE, help="Asked of cameras; an online model's steps/s."),
    click.option(
        "--pixel-format",
        type=click.Choice(["bgr24", "rgb24", "gray", "nv12", "yuyv"]),
        default="bgr24",
        show_default=True,
        help="Of raw frames on stdin.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["0", "90", "180", "270"]),
        default="0",
        help="Degrees clockwise.",
    ),
    click.option("--crop", metavar="L,T,W,H", callback=_crop, help="Look at this region only."),
    click.option(
        "--timeout",
        type=_POSITIVE,
        default=10.0,
        show_default=True,
        help="Seconds until a source that delivers nothing is opened again.",
    ),
    click.option(
        "--reconnect/--no-reconnect", default=True, help="Open lost sources again. [default: do]"
    ),
    click.option("--frozen-after", type=_POSITIVE, help="Same picture for so long: reconnect."),
    click.option("--black-after", type=_POSITIVE, help="Black pictures for so long: reconnect."),
)


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options above; read by `open_inputs`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def uris(arguments: dict[str, Any]) -> list[str | int]:
    """Return what --source and --camera name; the number of a --camera is always a camera.

    Raises:
        InputError: nothing is named.
    """
    cameras = [int(text) if text.isdecimal() else text for text in arguments["cameras"]]
    named = [*arguments["sources"], *cameras]
    if not named:
        raise InputError("nothing to look at: pass --source FILE or --camera 0")
    return named


def open_inputs(
    arguments: dict[str, Any], opened: Callable[[Source], Source]
) -> tuple[list[Source], CaptureOptions]:
    """Open every source, and say how to capture them; recordings play in virtual time.

    Args:
        arguments: of the command.
        opened: is given each source as soon as it is open, to close it in the end.

    Raises:
        SourceError: one cannot be opened.
        InputError: options that make no sense, or replays among other live sources.
    """
    options = SourceOptions(
        size=arguments["size"],
        pixel_format=arguments["pixel_format"],
        rotate=int(arguments["rotate"]),  # type: ignore[arg-type]
        crop=arguments["crop"],
        timeout_s=arguments["timeout"],
    )
    named = uris(arguments)
    clock = _clock([str(uri) for uri in named])
    timed = replace(options, fps=arguments["fps"])
    sources = [
        opened(open_source(uri, options=timed if takes_rate(uri) else options, clock=clock))
        for uri in named
    ]
    capture = CaptureOptions(
        # A library that keeps its own limit is given the time to say what it saw.
        deadline_s=arguments["timeout"] * 1.5,
        retry=Retry() if arguments["reconnect"] else None,
        black_s=arguments["black_after"] or math.inf,
        frozen_s=arguments["frozen_after"] or math.inf,
        clock=clock,
    )
    return sources, capture


def window_s(card: Card, arguments: dict[str, Any]) -> float | None:
    """Return the seconds that --window names, or --fps for an online model's steps.

    Raises:
        InputError: both, or --fps where it means nothing.
    """
    given: float | None = arguments["window"]
    if arguments["fps"] is None:
        return given
    if card.streaming is None:
        for uri in uris(arguments):
            if not takes_rate(uri):
                raise InputError(
                    "--fps is for online models, and for cameras, test:// and images; "
                    f"{redact(str(uri))} has a rate of its own"
                )
        return given
    if given is not None:
        raise InputError("an online model takes --fps or --window, not both")
    return float(card.streaming.horizon / arguments["fps"])


def _clock(named: list[str]) -> Clock:
    """Return the clock to live by: a recording's own, which need not be waited for."""
    replayed = [uri for uri in named if uri.startswith(REPLAY)]
    if not replayed:
        return SYSTEM_CLOCK
    if len(replayed) < len(named):
        raise InputError("replay: plays in a time of its own; run it without other sources")
    starts_s = []
    for uri in replayed:
        source = open_source(uri)
        starts_s.append(source.start_s if isinstance(source, Replay) else 0.0)
        source.close()
    return VirtualClock(min(starts_s))


def is_same_file(path: Path, uri: str | int) -> bool:
    """Return whether `uri` names the existing file `path`."""
    return path.exists() and Path(str(uri)).exists() and path.samefile(str(uri))
