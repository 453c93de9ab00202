"""A whole run as a TOML file: bundle, named sources, where answers go, limits.

`config.schema.json` beside this file is made from these types.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from edge_tsm.actions.rules import RuleOverrides, Threshold
from edge_tsm.bundle.schema import Note, decode, did_you_mean, json_schema
from edge_tsm.errors import InputError
from edge_tsm.sinks import SINKS, find_sink
from edge_tsm.sources.base import PixelFormat
from edge_tsm.sources.names import source_ids
from edge_tsm.system.files import read_bounded
from edge_tsm.system.redact import redact
from edge_tsm.system.secrets import is_written_out, resolve, warn_if_others_can_read

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 20
Above0 = Annotated[float, Note(exclusive_minimum=0)]
From0 = Annotated[float, Note(minimum=0)]
From1 = Annotated[int, Note(minimum=1)]
Share = Annotated[float, Note(minimum=0, maximum=1)]
Side = Annotated[int, Note(minimum=0)]
Turn = Literal[0, 90, 180, 270]
Values = str | bool | tuple[str, ...]


@dataclass(frozen=True)
class SourceConfig:
    """A source, and what is its own: what is missing is as for all sources.

    Args:
        address: what `--source` takes, `env:NAME` or `file:PATH`; a number is a camera.
        size: asked of a camera, or of raw frames: width, height in pixels.
        fps: asked of a camera.
        pixel_format: of raw frames on stdin.
        rotate: degrees clockwise.
        crop: left, top, width, height in pixels, of the rotated picture.
        window: seconds seen.
        every: seconds between answers.
        rules: what differs from the rules of the others.
    """

    address: str | Side
    size: tuple[Side, Side] | None = None
    fps: Above0 | None = None
    pixel_format: PixelFormat | None = None
    rotate: Turn | None = None
    crop: tuple[Side, Side, Side, Side] | None = None
    window: Above0 | None = None
    every: Above0 | None = None
    rules: RuleOverrides = field(default_factory=RuleOverrides)


@dataclass(frozen=True)
class InputConfig:
    """How all sources are seen, and how patient to be with them; as the options of `run`."""

    size: tuple[Side, Side] | None = None
    fps: Above0 | None = None
    pixel_format: PixelFormat | None = None
    rotate: Turn | None = None
    crop: tuple[Side, Side, Side, Side] | None = None
    timeout: Above0 | None = None
    reconnect: bool | None = None
    require_all: bool | None = None
    keep_trying: bool | None = None
    frozen_after: Above0 | None = None
    black_after: Above0 | None = None


@dataclass(frozen=True)
class PaceConfig:
    """When to answer, in seconds, and when to stop."""

    window: Above0 | None = None
    every: Above0 | None = None
    duration: Above0 | None = None
    max_answers: From1 | None = None
    stats: Above0 | None = None


@dataclass(frozen=True)
class OutputConfig:
    """Where answers go, and how much is kept; as the options of `run`."""

    json: bool | None = None
    show: bool | None = None
    save: str | None = None
    force: bool | None = None
    record: str | None = None
    segment: Annotated[float, Note(minimum=1)] | None = None
    quota_mb: Annotated[int, Note(minimum=4)] | None = None
    events: str | None = None
    keep_events: From1 | None = None
    keep_days: Above0 | None = None
    webhook: str | None = None
    snapshots: str | None = None
    clips: str | None = None
    keep: From1 | None = None
    keep_mb: From1 | None = None
    essential: tuple[str, ...] = ()


@dataclass(frozen=True)
class MqttConfig:
    """A broker, the login there, and what it is told; as the options `--mqtt-…` of `run`.

    Args:
        url: `mqtt://HOST[:PORT]`, or mqtts; this and `password` may be `env:NAME` or `file:PATH`.
    """

    url: str | None = None
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    device: str | None = None
    discovery: str | None = None
    scores: bool | None = None
    snapshots: bool | None = None


@dataclass(frozen=True)
class MetricsConfig:
    """Where metrics and health are served: `address` is `HOST:PORT`."""

    address: str | None = None


@dataclass(frozen=True)
class ActionConfig:
    """How answers become actions; `rules` is a file or a preset, the rest is changed of it."""

    actions: bool | None = None
    rules: str | None = None
    on: Share | None = None
    off: Share | None = None
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    mean_answers: From1 | None = None
    decay_s: From0 | None = None
    min_duration_s: From0 | None = None
    cool_down_s: From0 | None = None
    background: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageConfig:
    """A web page that shows the run.

    Args:
        address: host and port, as 127.0.0.1:8765; without one there is no page.
        token: what people have to know: `env:NAME` or `file:PATH`.
        tls: a certificate and its key, for https.
        hosts: further names that it is reached by.
        read_only: show, and let nothing be changed.
        keep_logits: hours of answers that rules are tried on.
    """

    address: str | None = None
    token: str | None = None
    tls: tuple[str, str] | None = None
    hosts: tuple[str, ...] = ()
    read_only: bool | None = None
    keep_logits: From0 | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Which file of the bundle answers, and what runs it."""

    variant: str | None = None
    aim: Literal["latency", "throughput"] | None = None
    engine: str | None = None
    device: str | None = None
    threads: Annotated[int, Note(minimum=1, maximum=1024)] | None = None
    precision: Literal["f32", "f16", "bf16", "int8"] | None = None
    cache_dir: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that `edge-tsm run` can be asked for.

    Args:
        bundle: the folder; the only one in the current folder if missing.
        sources: by their ids, 1 to 64 of the characters A-Za-z0-9_.-
        sinks: further ones by name, with a value, several values, or true.
    """

    bundle: str | None = None
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    input: InputConfig = field(default_factory=InputConfig)
    pace: PaceConfig = field(default_factory=PaceConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    sinks: dict[str, Values] = field(default_factory=dict)
    actions: ActionConfig = field(default_factory=ActionConfig)
    page: PageConfig = field(default_factory=PageConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def secrets(self) -> Iterator[str]:
        """Yield every text that may be or name a secret."""
        yield from (str(source.address) for source in self.sources.values())
        named = (self.output.webhook, self.mqtt.url, self.mqtt.password, self.page.token)
        yield from filter(None, named)
        for value in self.sinks.values():
            if not isinstance(value, bool):
                yield from (value,) if isinstance(value, str) else value

    def addresses(self) -> dict[str, str | int]:
        """Return the address of each source; a number, also one that is named, is a camera.

        Raises:
            InputError: what `env:` or `file:` name cannot be had.
        """
        found = {name: resolve(str(source.address)) for name, source in self.sources.items()}
        cameras = {n for n, s in self.sources.items() if isinstance(s.address, int)}
        return {n: int(text) if n in cameras else text for n, text in found.items()}


def read_config(path: Path) -> RunConfig:
    """Read the file of a run.

    Raises:
        InputError: it cannot be read, or a key is unknown, ill-typed, or out of range; the message
            names file, key and value.
    """
    try:
        data = tomllib.loads(read_bounded(path, MOST_BYTES).decode())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error
    config = decode(RunConfig, data, str(path), InputError)
    for problem in _problems(config):
        raise InputError(f"{path}: {problem}")
    written_out = is_written_out(config.mqtt.password)
    if written_out or any(redact(text) != text for text in config.secrets()):
        warn_if_others_can_read(path)
    return config


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a run's file; `config.schema.json` holds it."""
    return json_schema(RunConfig, uri="https://edge-tsm/config.schema.json")


def _problems(config: RunConfig) -> Iterator[str]:
    yield from _out_of_range(config, "")
    yield from _contradictions("actions", config.actions.thresholds)
    for name, source in config.sources.items():
        yield from _contradictions(f"sources.{name}.rules", source.rules.thresholds)
    try:
        source_ids(list(config.sources))
    except InputError as error:
        yield f"sources: {error}"
    for name, value in config.sinks.items():
        try:
            find_sink(name)
        except InputError as error:
            yield f"sinks.{name} is {value!r}: {error}{did_you_mean(name, SINKS)}"
        if value is False:
            yield f"sinks.{name} is false; leave it out"


def _contradictions(path: str, thresholds: Mapping[str, Threshold]) -> Iterator[str]:
    for label, pair in thresholds.items():
        if not 0 <= pair.off <= pair.on <= 1:
            yield f"{path}.thresholds.{label} is on {pair.on}, off {pair.off}; 0 <= off <= on <= 1"


def _out_of_range(value: Any, path: str) -> Iterator[str]:
    """Yield what is outside the limits that a `Note` of its type names."""
    for name, hint in typing.get_type_hints(type(value), include_extras=True).items():
        item, where = getattr(value, name), f"{path}.{name}".lstrip(".")
        inner = item.items() if isinstance(item, Mapping) else ((None, item),)
        for key, one in inner:
            place = where if key is None else f"{where}.{key}"
            if is_dataclass(one):
                yield from _out_of_range(one, place)
            for number in one if isinstance(one, tuple) else (one,):
                yield from _limits(number, hint, place)


def _limits(number: object, hint: Any, path: str) -> Iterator[str]:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return
    for note in _notes(hint):
        if note.minimum is not None and number < note.minimum:
            yield f"{path} is {number}, expected {note.minimum:g} or more"
        if note.maximum is not None and number > note.maximum:
            yield f"{path} is {number}, expected {note.maximum:g} or less"
        if note.exclusive_minimum is not None and number <= note.exclusive_minimum:
            yield f"{path} is {number}, expected more than {note.exclusive_minimum:g}"


def _notes(hint: Any) -> Iterator[Note]:
    if get_origin(hint) is Annotated:
        yield from (part for part in get_args(hint)[1:] if isinstance(part, Note))
    for part in get_args(hint):
        if not isinstance(part, Note):
            yield from _notes(part)


def option_values(config: RunConfig) -> dict[str, Any]:
    """Return what the sections say, by keys, which are called as the options are."""
    sections = (config.input, config.pace, config.output, config.actions, config.model)
    found = {f.name: getattr(section, f.name) for section in sections for f in fields(section)}
    mqtt = {f"mqtt_{name}": value for name, value in vars(config.mqtt).items()}
    found |= mqtt | {"mqtt": mqtt.pop("mqtt_url"), "metrics": config.metrics.address}
    given = {name: value for name, value in found.items() if value not in (None, (), {})}
    return {**given, **({"bundle": config.bundle} if config.bundle else {})}
