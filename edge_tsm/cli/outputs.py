"""Options that say where answers go and how they become actions."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from edge_tsm.actions.rules import RuleOverrides, Rules, Threshold, starting_rules
from edge_tsm.cli.configuration import config_path, is_given
from edge_tsm.cli.inputs import InputOptions
from edge_tsm.cli.options import Decorator, grouped
from edge_tsm.errors import InputError
from edge_tsm.events import Limits
from edge_tsm.sinks import SINKS, SinkContext, SinkRequest, find_sink
from edge_tsm.sinks.mqtt.options import MqttOptions
from edge_tsm.sinks.run import Run, UnknownRun
from edge_tsm.sinks.segments import SegmentLimits
from edge_tsm.sources import Source
from edge_tsm.system.clock import Clock
from edge_tsm.system.secrets import resolve

if TYPE_CHECKING:
    from edge_tsm.events import EventStore
    from edge_tsm.service.rule_layers import RuleLayers

_log = logging.getLogger(__name__)
_SHARE = click.FloatRange(0, 1)
_SECONDS = click.FloatRange(min=0)
_DAYS = click.FloatRange(min=0, min_open=True)
_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass(frozen=True)
class OutputOptions:
    """Where answers go, as the options below say."""

    as_json: bool = False
    show: bool = False
    save: Path | None = None
    force: bool = False
    record: Path | None = None
    events: Path | None = None
    keep_events: int = Limits.most_events
    keep_days: float | None = None
    webhook: str | None = None
    snapshots: Path | None = None
    clips: Path | None = None
    keep: int = 200
    keep_mb: int = 500
    segment: float = SegmentLimits.most_s
    quota_mb: int = SegmentLimits.quota_bytes // 1_000_000
    sinks: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()
    mqtt: str | None = None
    mqtt_user: str | None = None
    mqtt_password: str | None = None
    mqtt_ca: Path | None = None
    mqtt_cert: Path | None = None
    mqtt_key: Path | None = None
    mqtt_device: str | None = None
    mqtt_discovery: str = MqttOptions.discovery
    mqtt_scores: bool = False
    mqtt_snapshots: bool = False

    def requests(self, *, live: bool) -> list[SinkRequest]:
        """Return the sinks that are asked for; --save of a recording is none.

        Raises:
            InputError: a sink that there is not, or an essential one that is not asked for.
        """
        asked = self._asked(live=live)
        unknown = set(self.essential) - {request.kind.name for request in asked}
        if unknown:
            names = ", ".join(request.kind.name for request in asked)
            raise InputError(f"--essential {min(unknown)}: the sinks of this run are {names}")
        return [
            replace(request, essential=request.kind.name in self.essential) for request in asked
        ]

    def _asked(self, *, live: bool) -> list[SinkRequest]:
        printer = "json" if self.as_json else "live" if live else "terminal"
        named = {
            "--events": ("events", self.events),
            "--webhook": ("webhook", self.webhook),
            "--mqtt": ("mqtt", self.mqtt),
            "--snapshots": ("snapshots", self.snapshots),
            "--clips": ("clips", self.clips),
            "--record": ("recorder", self.record),
            "--save": ("video", self.save if live else None),
        }
        return [
            SinkRequest(SINKS[printer]),
            *(SinkRequest(SINKS[k], resolve(str(v)), o) for o, (k, v) in named.items() if v),
            *([SinkRequest(SINKS["window"], shown="--show")] if self.show else []),
            *map(_request, self.sinks),
        ]

    def store(self, requests: Iterable[SinkRequest], clock: Clock) -> EventStore:
        """Open the event file that is asked for, or a store in memory.

        A disk that is full is no reason not to recognize anything, unless events are essential.

        Raises:
            SinkError: the file cannot be used.
        """
        from edge_tsm.events import DiskFullError, EventStore  # a run without rules has none

        files = [Path(request.value) for request in requests if request.kind.name == "events"]
        most_age_s = None if self.keep_days is None else self.keep_days * 86_400
        limits = Limits(self.keep_events, most_age_s)
        try:
            return EventStore(files[0] if files else None, limits=limits, clock=clock)
        except DiskFullError as error:
            if "events" in self.essential:
                raise
            _log.warning("%s; events of this run are kept in memory only", error)
            return EventStore(limits=limits, clock=clock)

    def folders(self) -> dict[str, Path]:
        """Return where files go, by the name of the option."""
        names = ("events", "snapshots", "clips", "record", "save")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    def context(
        self,
        sources: Sequence[Source],
        clock: Clock,
        *,
        store: EventStore | None,
        on_close: Callable[[], object],
        run: Run | None = None,
    ) -> SinkContext:
        """Return what the sinks learn of a run; `on_close` is called when a window is closed."""
        return SinkContext(
            live=any(source.live for source in sources),
            sources=len(sources),
            fps=sources[0].fps,
            most_files=self.keep,
            most_bytes=self.keep_mb * 1_000_000,
            on_close=on_close,
            clock=clock,
            store=store,
            segments=SegmentLimits(self.segment, self.quota_mb * 1_000_000),
            mqtt=self._mqtt_options(),
            run=run or UnknownRun(),
        )

    def _mqtt_options(self) -> MqttOptions:
        names = [option.name for option in fields(MqttOptions)]
        return MqttOptions(**{name: getattr(self, f"mqtt_{name}") for name in names})


@dataclass(frozen=True)
class RuleOptions:
    """How answers become actions, as the options below say."""

    actions: bool = False
    rules: str | None = None
    changes: RuleOverrides = field(default_factory=RuleOverrides)

    def chosen(
        self,
        bundle: Path,
        labels: tuple[str, ...],
        requests: Iterable[SinkRequest],
        *,
        needed: bool = False,
    ) -> Rules | None:
        """Return the rules of a run; None where neither it nor an option nor a sink needs actions.

        Raises:
            InputError: contradicting options, a bad rules file, or a label that is none of
                `labels`.
        """
        needed = needed or any(request.kind.needs_actions for request in requests)
        if not (needed or self.actions or self.rules or self.changes):
            return None
        rules = self.changes.apply(starting_rules(bundle, self.rules))
        rules.check(labels)
        return rules

    def layers(self, bundle: Path, inputs: InputOptions) -> RuleLayers:
        """Return where the rules of a run come from, for someone to change them."""
        from edge_tsm.service.rule_layers import RuleLayers  # for the page alone

        given = {f.name: getattr(self.changes, f.name) for f in fields(RuleOverrides)}
        options = {name: value for name, value in given.items() if is_given(name)}
        named = inputs.config is not None and not (inputs.sources or inputs.cameras)
        return RuleLayers(
            bundle, self.rules, config_path(), RuleOverrides(**options), from_config=named
        )


def _thresholds(
    _ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Threshold]:
    return dict(map(_threshold, texts))


def _threshold(text: str) -> tuple[str, Threshold]:
    """Return label and threshold of LABEL=ON[/OFF]; OFF is two thirds of ON if not given."""
    label, _, numbers = text.rpartition("=")
    on, _, off = numbers.partition("/")
    try:
        pair = Threshold(float(on), float(off) if off else float(on) * 2 / 3)
    except ValueError as error:
        raise InputError(f"--threshold {text!r}: write LABEL=ON or LABEL=ON/OFF") from error
    return label, pair


_OUTPUTS: tuple[Decorator, ...] = (
    click.option("--save", type=_PATH, help="Annotated video (.mp4 or .avi)."),
    click.option("--force", is_flag=True, help="Let --save of a recording replace a file."),
    click.option("--record", type=_FOLDER, help="Live: keep the frames in FOLDER, in segments."),
    click.option(
        "--segment",
        type=click.FloatRange(min=1),
        default=OutputOptions.segment,
        show_default=True,
        help="Live: seconds after which --save and --record go on in a new piece.",
    ),
    click.option(
        "--quota-mb",
        type=click.IntRange(min=4),
        default=OutputOptions.quota_mb,
        show_default=True,
        help="Megabytes of each of these two to keep; the oldest pieces go first.",
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON object per answer and line."),
    click.option("--show", is_flag=True, help="Live: a window with pictures and answers; q ends."),
    click.option(
        "--events",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Keep starts, ends and what was not delivered in FILE (SQLite).",
    ),
    click.option(
        "--keep-events",
        type=click.IntRange(min=1),
        default=OutputOptions.keep_events,
        show_default=True,
        help="Newest events to keep, with their files.",
    ),
    click.option("--keep-days", type=_DAYS, help="Days to keep events, with their files."),
    click.option(
        "--webhook",
        metavar="URL",
        envvar="EDGE_TSM_WEBHOOK",
        help="POST events as JSON, again until they are taken; over a restart with --events.",
    ),
    click.option("--snapshots", type=_FOLDER, help="Live: save a picture at each start in FOLDER."),
    click.option("--clips", type=_FOLDER, help="Live: save seconds around each start in FOLDER."),
    click.option(
        "--keep",
        type=click.IntRange(min=1),
        default=OutputOptions.keep,
        show_default=True,
        help="Newest pictures, and clips, to keep.",
    ),
    click.option(
        "--keep-mb",
        type=click.IntRange(min=1),
        default=OutputOptions.keep_mb,
        show_default=True,
        help="Megabytes of pictures, and of clips, to keep.",
    ),
    click.option(
        "--sink",
        "sinks",
        multiple=True,
        metavar="NAME[=VALUE]",
        help=f"Also: {', '.join(SINKS)}, or a sink of another package; repeatable.",
    ),
    click.option(
        "--essential",
        multiple=True,
        metavar="NAME",
        help="End the run when this sink fails, as recorder; repeatable.",
    ),
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_MQTT: tuple[Decorator, ...] = (
    click.option(
        "--mqtt",
        metavar="URL",
        envvar="EDGE_TSM_MQTT",
        help="Broker, as mqtt://HOST[:PORT], or mqtts:// for TLS. Publishes events, states and the "
        "current action, and tells Home Assistant of itself.",
    ),
    click.option("--mqtt-user", metavar="NAME", help="Login there."),
    click.option(
        "--mqtt-password",
        metavar="env:NAME|file:PATH",
        envvar="EDGE_TSM_MQTT_PASSWORD",
        help="Its password.",
    ),
    click.option("--mqtt-ca", type=_FILE, help="Whose certificates to trust (PEM)."),
    click.option("--mqtt-cert", type=_FILE, help="Certificate of our own (PEM)."),
    click.option("--mqtt-key", type=_FILE, help="Its key (PEM)."),
    click.option(
        "--mqtt-device", metavar="NAME", help="What this run is called. [default: the host's name]"
    ),
    click.option(
        "--mqtt-discovery",
        metavar="PREFIX",
        default=MqttOptions.discovery,
        show_default=True,
        help="Home Assistant's prefix; '' tells it nothing.",
    ),
    click.option("--mqtt-scores", is_flag=True, help="Publish every answer."),
    click.option("--mqtt-snapshots", is_flag=True, help="Publish a picture at each start."),
)
_ACTIONS = click.option("--actions", is_flag=True, help="Report starts and ends of actions.")
_RULES: tuple[Decorator, ...] = (
    click.option(
        "--rules",
        metavar="FILE",
        help="TOML file of actions, or a preset: jester-demo. [default: the bundle's]",
    ),
    click.option("--on", type=_SHARE, help="Probability that starts an action. [default: 0.6]"),
    click.option("--off", type=_SHARE, help="Probability below which it ends. [default: 0.4]"),
    click.option(
        "--threshold",
        "thresholds",
        multiple=True,
        callback=_thresholds,
        metavar="LABEL=ON[/OFF]",
        help="The same for one class; repeatable.",
    ),
    click.option("--mean", "mean_answers", type=click.IntRange(1), help="Average N answers."),
    click.option("--decay", "decay_s", type=_SECONDS, help="Or average over so many seconds."),
    click.option("--min-duration", "min_duration_s", type=_SECONDS, help="Shortest action, s."),
    click.option("--cool-down", "cool_down_s", type=_SECONDS, help="Pause before the same again."),
    click.option("--background", multiple=True, help="Label that means nothing; repeatable."),
    click.option("--ignore", "ignored", multiple=True, help="Label left out; repeatable."),
)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of outputs; the command gets `outputs`, an `OutputOptions`."""
    outputs = grouped("outputs", OutputOptions, _OUTPUTS, title="Where answers go")(command)
    return cloup.option_group("MQTT and Home Assistant", *_MQTT)(outputs)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of actions; the command gets `rules`, a `RuleOptions`."""
    return _rule_options(command, (_ACTIONS, *_RULES))


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same to a command that is about actions, and needs no option to be asked for them."""
    return _rule_options(command, _RULES, actions=True)


def _rule_options(
    command: Callable[..., Any], options: tuple[Decorator, ...], **fixed: bool
) -> Callable[..., Any]:
    parsed = functools.partial(grouped("rules", RuleOptions, ())(command), **fixed)
    functools.update_wrapper(parsed, command)
    return grouped("changes", RuleOverrides, options, title="How answers become actions")(parsed)


def _request(text: str) -> SinkRequest:
    name, _, value = text.partition("=")
    return SinkRequest(find_sink(name), resolve(value), f"--sink {name}")
