"""Options that say where pictures come from."""

from __future__ import annotations

import math
import os
import re
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edge_tsm.actions.rules import Rules
from edge_tsm.bundle.card import Card
from edge_tsm.cli.configuration import config_option, is_given
from edge_tsm.cli.options import Decorator, grouped
from edge_tsm.errors import InputError
from edge_tsm.live.capture import CaptureOptions, Required, Retry
from edge_tsm.live.worker import SourceInput
from edge_tsm.sources import Source, SourceOptions, open_source, scheme_of, takes_rate
from edge_tsm.sources.base import Box, PixelFormat, Size
from edge_tsm.sources.names import NamedAddress, source_ids
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock, VirtualClock
from edge_tsm.system.redact import redact

if TYPE_CHECKING:
    from edge_tsm.service.config import RunConfig, SourceConfig
    from edge_tsm.sources import Replay

_POSITIVE = click.FloatRange(min=0, min_open=True)


def _size(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Size | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise click.BadParameter(f"{text!r}: write WIDTHxHEIGHT, as 640x480")
    return int(match[1]), int(match[2])


def _crop(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Box | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{text!r}: write LEFT,TOP,WIDTH,HEIGHT in pixels")
    left, top, width, height = map(int, parts)
    return left, top, width, height


@dataclass(frozen=True)
class InputOptions:
    """Where pictures come from, as the options below say."""

    sources: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    size: Size | None = None
    fps: float | None = None
    pixel_format: PixelFormat = "bgr24"
    rotate: str = "0"
    crop: Box | None = None
    timeout: float = 10.0
    reconnect: bool = True
    frozen_after: float | None = None
    black_after: float | None = None
    require_all: bool = False
    keep_trying: bool = False
    config: RunConfig | None = None

    @property
    def own(self) -> dict[str, SourceConfig]:
        """What the file says of single sources, unless others are named instead."""
        if self.config is None or self.sources or self.cameras:
            return {}
        return self.config.sources

    @property
    def named(self) -> dict[str, str | int]:
        """The address of each source by its id; the number of a --camera is always a camera.

        Raises:
            InputError: nothing is asked for, or a name is no id or not unique.
        """
        if self.own and self.config is not None:
            return self.config.addresses()
        given = [NamedAddress.parse(text) for text in self.sources]
        for camera in map(NamedAddress.parse, self.cameras):
            is_index = str(camera.address).isdecimal()
            given.append(replace(camera, address=int(camera.address)) if is_index else camera)
        if not given:
            raise InputError("nothing to look at: pass --source FILE or --camera 0")
        ids = source_ids([one.name for one in given])
        return {source: one.address for source, one in zip(ids, given, strict=True)}

    @property
    def uris(self) -> list[str | int]:
        """The address of each source."""
        return list(self.named.values())

    @property
    def required(self) -> Required:
        """How many of the cameras must be there at the start.

        A service manager starts what may run for a year: there, none of them must.

        Raises:
            InputError: contradicting options.
        """
        if self.keep_trying and (self.require_all or not self.reconnect):
            other = "--require-all" if self.require_all else "--no-reconnect"
            raise InputError(f"--keep-trying contradicts {other}; pass one of them")
        if self.require_all:
            return "all"
        in_service = "NOTIFY_SOCKET" in os.environ and self.reconnect
        return "none" if self.keep_trying or in_service else "any"

    def clock(self) -> Clock:
        """Return the clock of the run: a recording's own, which need not be waited for.

        Raises:
            InputError: replays among other sources.
        """
        named = self.uris
        replayed = [uri for uri in named if scheme_of(uri).virtual_time]
        if not replayed:
            return SYSTEM_CLOCK
        if len(replayed) < len(named):
            raise InputError("replay: has a time of its own; run it without other sources")
        starts_s = []
        for uri in replayed:
            source = open_source(uri)
            starts_s.append(cast("Replay", source).start_s)
            source.close()
        return VirtualClock(min(starts_s))

    def open(self, clock: Clock, stack: ExitStack) -> dict[str, Source]:
        """Open every source, by its id; `stack` closes them in the end.

        Raises:
            SourceError: one cannot be opened.
            InputError: options that make no sense.
        """
        sources, named, required = dict[str, Source](), self.named, self.required
        # A single camera that is not there is most likely a typo, and an error before all else.
        deferred = required == "none" or (required == "any" and len(named) > 1)
        for name, uri in named.items():
            source = self._opened(name, uri, clock, deferred=deferred)
            sources[name] = stack.enter_context(closing(source))
        return sources

    def reopen(self, name: str, clock: Clock) -> Source:
        """Open a source once more; it need not be there yet.

        Raises:
            SourceError, InputError: as `open`.
        """
        return self._opened(name, self.named[name], clock, deferred=True)

    def _opened(self, name: str, uri: str | int, clock: Clock, *, deferred: bool) -> Source:
        options = SourceOptions(
            size=self.size,
            pixel_format=self.pixel_format,
            rotate=int(self.rotate),  # type: ignore[arg-type]
            crop=self.crop,
            timeout_s=self.timeout,
        )
        timed = replace(options, fps=self.fps)
        own = self._own_options(name, timed if takes_rate(uri) else options)
        return open_source(uri, options=own, clock=clock, deferred=deferred)

    def input(self, name: str, source: Source, rules: Rules | None) -> SourceInput:
        """Return a source with its id, and the pace and rules that a file gives it alone."""
        if (own := self.own.get(name)) is None:
            return SourceInput(source, name=name)
        return SourceInput(
            source,
            name=name,
            window_s=None if is_given("window") else own.window,
            every_s=None if is_given("every") else own.every,
            rules=own.rules.apply(rules) if rules and own.rules else None,
        )

    def _own_options(self, name: str, options: SourceOptions) -> SourceOptions:
        """Return the options with what the file says of one source."""
        if (own := self.own.get(name)) is None:
            return options
        names = ("size", "fps", "pixel_format", "rotate", "crop")
        given = {n: getattr(own, n) for n in names if not is_given(n)}
        return replace(options, **{n: value for n, value in given.items() if value is not None})

    def capture(self, clock: Clock) -> CaptureOptions:
        """Return how patient to be with live sources."""
        return CaptureOptions(
            # A library that keeps its own limit is given the time to say what it saw.
            deadline_s=self.timeout * 1.5,
            retry=Retry() if self.reconnect else None,
            black_s=self.black_after or math.inf,
            frozen_s=self.frozen_after or math.inf,
            required=self.required,
            clock=clock,
        )

    def window_s(self, card: Card, given: float | None) -> float | None:
        """Return the seconds that --window gives, or --fps for an online model's steps.

        Raises:
            InputError: both, or --fps where it means nothing.
        """
        if self.fps is None:
            return given
        if card.streaming is None:
            for uri in self.uris:
                if not takes_rate(uri):
                    raise InputError(
                        "--fps is for online models, and for cameras, test:// and images; "
                        f"{redact(str(uri))} has a rate of its own"
                    )
            return given
        if given is not None:
            raise InputError("an online model takes --fps or --window, not both")
        return float(card.streaming.horizon / self.fps)


_OPTIONS: tuple[Decorator, ...] = (
    config_option,
    click.option(
        "--source", "sources", multiple=True, metavar="[NAME=]SOURCE", help="See above; repeatable."
    ),
    click.option(
        "--camera",
        "cameras",
        multiple=True,
        metavar="[NAME=]CAMERA",
        help="Camera index, device path or stream; repeatable.",
    ),
    click.option("--size", metavar="WxH", callback=_size, help="Asked of cameras; of raw frames."),
    click.option("--fps", type=_POSITIVE, help="Asked of cameras; an online model's steps/s."),
    click.option(
        "--pixel-format",
        type=click.Choice(["bgr24", "rgb24", "gray", "nv12", "yuyv"]),
        default=InputOptions.pixel_format,
        show_default=True,
        help="Of raw frames on stdin.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["0", "90", "180", "270"]),
        default=InputOptions.rotate,
        help="Degrees clockwise.",
    ),
    click.option("--crop", metavar="L,T,W,H", callback=_crop, help="Look at this region only."),
    click.option(
        "--timeout",
        type=_POSITIVE,
        default=InputOptions.timeout,
        show_default=True,
        help="Seconds until a source that delivers nothing is opened again.",
    ),
    click.option(
        "--reconnect/--no-reconnect", default=True, help="Open lost sources again. [default: do]"
    ),
    click.option("--require-all", is_flag=True, help="End if a camera is not there at the start."),
    click.option(
        "--keep-trying",
        is_flag=True,
        help="Go on though no camera is there yet. [default: under systemd]",
    ),
    click.option(
        "--frozen-after",
        type=_POSITIVE,
        help="Same picture for so long: reconnect; else a warning.",
    ),
    click.option(
        "--black-after",
        type=_POSITIVE,
        help="Black pictures for so long: reconnect; else a warning.",
    ),
)


input_options = grouped("inputs", InputOptions, _OPTIONS, title="Where pictures come from")


def is_same_file(path: Path, uri: str | int) -> bool:
    """Return whether `uri` names the existing file `path`."""
    return path.exists() and Path(str(uri)).exists() and path.samefile(str(uri))
