"""What will be converted: the network of a checkpoint, and the facts its weights cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from converters.architectures.base import Network, refuse_offline, shift_place
from converters.architectures.shift import DIRECTIONS, Shift
from edge_tsm.bundle.card import Preprocess, Resize, Streaming
from edge_tsm.bundle.labels import Labels, default_labels, read_labels
from edge_tsm.datatypes import Color
from edge_tsm.errors import CheckpointError

# Seconds of video that training clips of a dataset span; only a start value for live windows.
_WINDOW_S = {"kinetics": 10.0, "something": 4.0, "somethingv2": 4.0, "jester": 3.0}
_DENSE_WINDOW_S = 64 / 30
_DEFAULT_WINDOW_S = 3.0
MOST_FPS = 1000

PIL_RESIZE = Resize(256, "bilinear", antialias=True, aspect="keep", long_side="truncate")
# What all code bases leave unsaid in the same way.
COMMON_DEFAULTS = {"segments": 8, "consensus": "avg", "color": "rgb"}
Hints = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Fact:
    """A value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Options:
    """What the user may say about a checkpoint; None leaves it to the other sources.

    `online` asks for the form that takes one frame at a time; `force_online` also of a checkpoint
    whose shift looks both ways.
    """

    segments: int | None = None
    shift_div: int | None = None
    shift_segments: int | None = None
    shift_direction: str | None = None
    consensus: str | None = None
    color: str | None = None
    labels: str | None = None
    window_s: float | None = None
    non_local_mode: str | None = None
    kind: str | None = None
    batch: int = 1
    online: bool = False
    force_online: bool = False
    fps: float | None = None
    horizon: int | None = None


@dataclass(frozen=True)
class Convention:
    """What a code base does the same way for all its networks, and puts into no checkpoint.

    `defaults` are facts by name; a `shift_div` of None is the number of segments.
    """

    name: str
    shift_direction: str
    sampling: str
    resize: Resize
    defaults: Mapping[str, Any]
    crop_offset: Literal["even", "floor"] = "even"


@dataclass(frozen=True)
class Topology:
    """What a checkpoint reader found: the network, its size, and hints beside the weights.

    `hints` are (source, facts) pairs in order of trust; `head` is where the class count stood,
    `shift_source` what says which blocks are shifted.
    """

    network: Network
    classes: int
    head: str
    hints: Hints
    convention: Convention
    warnings: tuple[str, ...] = ()
    shift_source: str = "weights"

    @property
    def facts(self) -> dict[str, Fact]:
        """What the weights say."""
        network = self.network
        shifted = [place != "none" for place in network.shifts]
        told = {
            "backbone": network.name,
            "shift": shift_place(network),
            "shifted blocks": f"{sum(shifted)} of {len(shifted)}",
            "non-local": network.non_local_blocks,
            "temporal pool": network.temporal_pool,
        }
        facts = {"format": Fact(self.convention.name, "key names")}
        facts |= {name: Fact(value, "weights") for name, value in told.items()}
        for name in ("shift", "shifted blocks"):
            facts[name] = replace(facts[name], source=self.shift_source)
        return facts | {"classes": Fact(self.classes, self.head)}


@dataclass(frozen=True)
class Recipe:
    """Everything needed to build the reference network and to write the card.

    `streaming` is there for the online form only.
    """

    network: Network
    classes: int
    segments: int
    shift: Shift
    sampling: str
    preprocess: Preprocess
    window_s: float
    batch: int
    labels: Labels
    facts: dict[str, Fact]
    warnings: list[str] = field(default_factory=list)
    streaming: Streaming | None = None

    @property
    def order_sensitive(self) -> bool:
        """Whether the answer depends on the order of frames, as far as the topology says."""
        return shift_place(self.network) != "none" or self.network.temporal_pool


def resolve(topology: Topology, options: Options) -> Recipe:
    """Settle every fact: option, then hints beside the weights, then default.

    Raises:
        CheckpointError: facts that contradict the weights or cannot be served.
        InputError: an unreadable label file.
    """
    convention, facts = topology.convention, topology.facts
    sources = [("option", vars(options)), *topology.hints, ("default", convention.defaults)]
    for name in ("segments", "shift_div", "consensus", "color"):
        facts[name] = _first(name, sources, Fact(convention.defaults.get(name), "default"))
    if facts["shift_div"].value is None:
        facts["shift_div"] = replace(facts["segments"], source=f"{convention.name}: segments")
    facts |= _shift_segments(facts["segments"], sources)
    network = _non_local(topology.network, facts, sources)
    facts["shift direction"] = _direction(sources, convention)
    facts["sampling"] = Fact(convention.sampling, convention.name)
    facts["resize"] = Fact(_describe(convention.resize), convention.name)
    facts["window_s"] = _window(options, topology)
    labels = _labels(topology, options)
    facts["labels"] = Fact(_shorten(labels.names), labels.source)
    facts["batch"] = Fact(options.batch, "option --batch" if options.batch != 1 else "default")
    _check(topology, facts)
    facts |= _online(network, options, facts, sources)
    return Recipe(
        network=network,
        classes=topology.classes,
        segments=facts["segments"].value,
        shift=Shift(
            facts.get("shift segments", facts["segments"]).value,
            facts["shift_div"].value,
            facts["shift direction"].value,
        ),
        sampling=convention.sampling,
        preprocess=preprocess_of(convention, facts["color"].value),
        window_s=facts["window_s"].value,
        batch=options.batch,
        labels=labels,
        facts=facts,
        warnings=[*topology.warnings, *_contradictions(topology), *_forced(facts)],
        streaming=(
            Streaming(facts["fps"].value, facts["horizon"].value, caches=())
            if "fps" in facts
            else None
        ),
    )


def _first(name: str, sources: Hints, default: Fact) -> Fact:
    for source, values in sources:
        if values.get(name) is not None:
            named = f"option --{name.replace('_', '-')}" if source == "option" else source
            return Fact(values[name], named)
    return default


def _direction(sources: Hints, convention: Convention) -> Fact:
    found = _first("shift_direction", sources, Fact(convention.shift_direction, convention.name))
    if found.value not in DIRECTIONS:
        raise CheckpointError(
            f"shift_direction is {found.value!r} ({found.source}); it must be "
            f"{', '.join(DIRECTIONS)}"
        )
    return found


def _online(
    network: Network, options: Options, facts: Mapping[str, Fact], sources: Hints
) -> dict[str, Fact]:
    """Return the facts of the online form, if that is asked for."""
    if not options.online and not options.force_online:
        given = [name for name in ("fps", "horizon") if getattr(options, name) is not None]
        if given:
            raise CheckpointError(f"--{given[0]} is for online models; add --online")
        return {}
    trained = facts["shift direction"]
    refuse_offline(network, trained.value, force=options.force_online)
    if "shift segments" in facts:
        raise CheckpointError("an online model shifts from frame to frame, not in parts of a clip")
    found = {"mode": Fact("online", "option"), **_rates(options, facts, sources)}
    if trained.value != "past":
        found["shift direction"] = Fact("past", "--force-online")
        found["forced online"] = Fact(f"trained {trained.value}", trained.source)
    return found


def _rates(options: Options, facts: Mapping[str, Fact], sources: Hints) -> dict[str, Fact]:
    """Settle steps per second, how many of them an answer averages, and the seconds these span."""
    window_s, segments = facts["window_s"].value, facts["segments"]
    horizon = _first("horizon", sources, replace(segments, source="segments"))
    fps = Fact(round(segments.value / window_s, 3), f"segments in {window_s:g} s")
    if options.window_s is not None and options.fps is None:
        fps = Fact(round(horizon.value / window_s, 3), "horizon in --window")
    else:
        fps = _first("fps", sources, fps)
    for name, fact in (("fps", fps), ("horizon", horizon)):
        if not 0 < fact.value <= MOST_FPS:
            raise CheckpointError(
                f"{name} is {fact.value}; it must be more than 0, at most {MOST_FPS}"
            )
    seen = Fact(round(horizon.value / fps.value, 3), "horizon / fps")
    return {"fps": fps, "horizon": horizon, "window_s": seen}


def _shift_segments(segments: Fact, sources: Hints) -> dict[str, Fact]:
    """Return how many frames are shifted together, where that is not the whole clip."""
    for source, values in sources:
        part = values.get("shift_segments")
        overruled = segments.source == "option --segments" and source != "option"
        if part is not None and part != segments.value and not overruled:
            if not isinstance(part, int) or part < 2 or segments.value % part:
                raise CheckpointError(
                    f"{source} shifts {part!r} frames of {segments.value}, which cannot be"
                )
            return {"shift segments": Fact(part, source)}
    return {}


def _non_local(network: Network, facts: dict[str, Fact], sources: Hints) -> Network:
    """Settle how non-local blocks relate positions, which their weights only half tell."""
    found = network.non_local_mode
    if found is None:
        return network
    for source, values in () if found == "gaussian" else sources:
        mode = values.get("non_local_mode")
        if mode is not None:
            if mode not in ("embedded_gaussian", "dot_product"):
                raise CheckpointError(
                    f"non-local mode {mode!r} ({source}) does not fit the weights"
                )
            facts["non-local mode"] = Fact(mode, source)
            scale = bool(values.get("non_local_scale", False))
            return network.with_non_local(mode, scale=scale)
    facts["non-local mode"] = Fact(found, "weights")
    return network


def preprocess_of(convention: Convention, color: Color) -> Preprocess:
    """Return the card's preprocessing; crop, scale, mean and std are the same in all code bases."""
    return Preprocess(
        color=color,
        resize=convention.resize,
        crop_px=224,
        crop_offset=convention.crop_offset,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def _describe(resize: Resize) -> str:
    shape = "" if resize.aspect == "keep" else f", squashed to {resize.aspect}"
    return f"{resize.short_side_px}, {'' if resize.antialias else 'not '}antialiased{shape}"


def _window(options: Options, topology: Topology) -> Fact:
    if options.window_s is not None:
        return Fact(options.window_s, "option --window")
    for source, values in topology.hints:
        if values.get("dense"):
            return Fact(round(_DENSE_WINDOW_S, 2), f"dense sampling in {source}")
        dataset = str(values.get("dataset"))
        if dataset in _WINDOW_S:
            return Fact(_WINDOW_S[dataset], f"dataset {dataset} in {source}")
    return Fact(_DEFAULT_WINDOW_S, "default")


def _labels(topology: Topology, options: Options) -> Labels:
    if options.labels is not None:
        labels = read_labels(options.labels)
        if len(labels.names) != topology.classes:
            raise CheckpointError(
                f"{options.labels} has {len(labels.names)} labels, the checkpoint "
                f"{topology.classes} classes; pass the list the model was trained with"
            )
        return labels
    for source, values in topology.hints:
        names = values.get("labels")
        if names is not None and len(names) == topology.classes:
            return Labels(tuple(names), source)
    return default_labels(topology.classes)


def _check(topology: Topology, facts: Mapping[str, Fact]) -> None:
    fewest = 1 if shift_place(topology.network) == "none" else 2
    for name, low, high in (("segments", fewest, 128), ("shift_div", 2, 128), ("batch", 1, 1024)):
        value = facts[name].value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            said = facts[name].source
            raise CheckpointError(f"{name} is {value!r} ({said}); it must be {low} to {high}")
    if facts["consensus"].value != "avg":
        raise CheckpointError(
            f"consensus {facts['consensus'].value!r} ({facts['consensus'].source}) leaves one "
            "answer per frame; pass --consensus avg to average them"
        )
    if facts["color"].value not in ("rgb", "bgr"):
        raise CheckpointError(f"color is {facts['color'].value!r}; it must be rgb or bgr")
    window = facts["window_s"].value
    if not 0 < window < 3600:
        raise CheckpointError(f"window is {window} s; it must be more than 0")
    if topology.network.temporal_pool and facts["segments"].value % 2:
        raise CheckpointError(
            f"temporal pooling halves the segments; {facts['segments'].value} is odd"
        )


def _contradictions(topology: Topology) -> list[str]:
    """Compare what names and side files say about the topology with the weights, which win."""
    found, facts = [], topology.facts
    for source, values in topology.hints:
        for name in ("backbone", "shift", "non-local", "temporal pool"):
            said, is_ = values.get(name), facts[name].value
            if said is not None and said != is_:
                found.append(f"{source} says {name} {said}, the weights say {is_}")
    return found


def _forced(facts: Mapping[str, Fact]) -> list[str]:
    if "forced online" not in facts:
        return []
    return [
        f"forced online: this network was {facts['forced online'].value} and answers poorly when "
        "it sees the past only; measure before you rely on it"
    ]


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{len(names)}: {shown}, …"
