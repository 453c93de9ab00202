"""What will be converted: the network of a checkpoint, and the facts its weights do not show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from converters.architectures.network import (
    Evidence,
    FrameNetwork,
    Network,
    Scalar,
    Settled,
)
from converters.architectures.settling import PLACE_OPTION
from converters.architectures.shift import Shift
from converters.facts import UNKNOWN, Fact, Facts, Hints, Triple, first, given, integer, one_of
from converters.picture import Picture, settle_picture
from edge_tsm.bundle.card import Preprocess, Resize, Sampling, Streaming
from edge_tsm.bundle.data_sets import fitting, misordered
from edge_tsm.bundle.labels import Labels, default_labels, read_labels
from edge_tsm.datatypes import Activation, Color
from edge_tsm.errors import CheckpointError
from edge_tsm.inference.sampling import RULES

# Seconds of video that training clips of a dataset span; only a start value for live windows.
_WINDOW_S = {"kinetics": 10.0, "something": 4.0, "somethingv2": 4.0, "jester": 3.0}
_DENSE_WINDOW_S = 64 / 30
_DEFAULT_WINDOW_S = 3.0
_COLORS: tuple[Color, ...] = ("rgb", "bgr")
_ACTIVATIONS = get_args(Activation)
MOST_FPS, MOST_INTERVAL = 1000, 1000
USUAL_FPS = 30.0  # of the videos that networks are trained on
EVERY_S = 0.5  # between live answers; only a start value
_FACT_OPTION = "option --fact"
INTERVAL_OPTION = "option --interval"
_BACKBONE_OPTION = "option --backbone"

PIL_RESIZE = Resize(256, "bilinear", antialias=True, aspect="keep", long_side="truncate")
# What no code base writes down and all do alike.
COMMON_DEFAULTS = {"segments": 8, "consensus": "avg", "color": "rgb"}


@dataclass(frozen=True)
class Options:
    """What the user may state about a checkpoint; None leaves it to the other sources.

    `size` is the side of the pictures in pixels; `full_res` shows the whole shorter side, as
    upstream's test option does. `dynamic_batch` makes a graph that takes any number of clips.
    `online` asks for the form that takes one frame at a time; `force_online` also of a checkpoint
    whose shift looks both ways. `own` are facts that only the network's family has, by name.
    """

    segments: int | None = None
    shift_div: int | None = None
    shift_segments: int | None = None
    shift_direction: str | None = None
    consensus: str | None = None
    color: str | None = None
    activation: str | None = None
    labels: str | Path | None = None
    window_s: float | None = None
    interval: int | None = None
    non_local_mode: str | None = None
    kind: str | None = None
    shift_place: str | None = None
    weights: str | None = None
    size: int | None = None
    full_res: bool = False
    backbone: str | None = None
    batch: int = 1
    dynamic_batch: bool = False
    online: bool = False
    force_online: bool = False
    fps: float | None = None
    horizon: int | None = None
    own: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Convention:
    """What a code base does the same way for all its networks, and puts into no checkpoint.

    `defaults` are hints by name (see `Hints`); a `shift_div` of None is the number of segments.
    `sorts` are the data sets (of DATA_SETS) whose own list of classes it sorts. A file that says
    otherwise gives hints of the same names; networks without a shift have no `shift_direction`.
    `rate` are the frames a second at which intervals between frames count, None where they are
    those of any video.
    """

    name: str
    shift_direction: str | None
    sampling: str
    resize: Resize
    defaults: Mapping[str, Any]
    crop_offset: Literal["even", "floor", "ceil"] = "even"
    sorts: frozenset[str] = frozenset()
    scale: float = 1 / 255
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    rate: float | None = None

    @property
    def hints(self) -> Mapping[str, Any]:
        """What it does, as hints."""
        names = ("shift_direction", "sampling", "resize", "scale", "mean", "std", "rate")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Topology:
    """What a checkpoint reader found: the network, its size, and hints beside the weights.

    `hints` are (source, values by name) pairs in order of trust, see `Hints`; `head` is the weight
    that gives the class count. `shift_source` is what shows which blocks are shifted; None where
    nothing does, although there may be a shift. `weights` is where in the file the network lies.
    """

    network: Network
    classes: int
    head: str
    hints: Sequence[tuple[str, Mapping[str, Any]]]
    convention: Convention
    warnings: tuple[str, ...] = ()
    shift_source: str | None = "weights"
    weights: Fact[str] | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything needed to build the reference network and to write the card.

    `streaming` is set for the online form only.
    """

    network: Network
    classes: int
    segments: int
    shift: Shift | None
    arch: Mapping[str, Scalar]
    sampling: Sampling
    preprocess: Preprocess
    batch: int
    labels: Labels
    facts: Facts
    warnings: list[str] = field(default_factory=list)
    streaming: Streaming | None = None

    @property
    def order_sensitive(self) -> bool:
        """Whether the answer depends on the order of frames, as far as the topology says."""
        return self.network.order_sensitive

    @property
    def shifted(self) -> tuple[FrameNetwork, Shift]:
        """The network and its shift.

        Raises:
            CheckpointError: a network without one.
        """
        if self.shift is None:
            raise CheckpointError(f"{self.network.name} is no network with a temporal shift")
        return cast(FrameNetwork, self.network), self.shift


def resolve(topology: Topology, options: Options) -> Recipe:
    """Settle every fact: option, then hints beside the weights, then default.

    Raises:
        CheckpointError: facts that contradict the weights or cannot be served.
        InputError: an unreadable label file.
        TypeError: a reader's hint has an unknown name.
    """
    sources = _sources(topology, options)
    labels = _labels(topology, options, sources)
    picture = _picture(sources)
    network, backbone = _variant(topology.network, sources)
    settled = network.settle(
        Evidence(
            sources,
            topology.convention.name,
            picture.size,
            topology.shift_source,
            options.online,
            options.force_online,
        )
    )
    facts = replace(
        _clip_facts(topology, options, sources, labels, settled, picture), backbone=backbone
    )
    if options.online or options.force_online:
        facts = _online(settled.network, options, facts, sources)
    else:
        _refuse_online_options(options)
    return Recipe(
        network=settled.network,
        classes=topology.classes,
        segments=facts.segments.value,
        shift=settled.shift,
        arch=settled.arch,
        sampling=_sampling(facts, sources),
        preprocess=_preprocess(topology.convention, facts.color.value, picture, sources),
        batch=facts.batch.value,
        labels=labels,
        facts=facts,
        warnings=[
            *topology.warnings,
            *_contradictions(facts, sources),
            *settled.warnings,
            *_label_warnings(labels, topology.convention),
        ],
        streaming=(
            Streaming(facts.fps.value, facts.horizon.value, caches=())
            if facts.fps and facts.horizon
            else None
        ),
    )


def _sources(topology: Topology, options: Options) -> list[Hints]:
    """Return the hints of every source, in order of trust."""
    own, convention = topology.network.own_hints, topology.convention
    _refuse_unknown(options.own, topology.network)
    return [
        _chosen(options),
        *(Hints.of(source, values, own) for source, values in topology.hints),
        Hints.of(convention.name, convention.hints),
        Hints.of("default", convention.defaults, own),
    ]


def _refuse_unknown(chosen: Iterable[str], network: Network) -> None:
    for name in chosen:
        if name not in network.own_hints:
            known = ", ".join(sorted(network.own_hints)) or "no such fact"
            raise CheckpointError(f"--fact {name}: {network.name} has {known}")


def _chosen(options: Options) -> Hints:
    """Return what the user has chosen."""
    return Hints(
        backbone=given(options.backbone, _BACKBONE_OPTION),
        segments=given(options.segments, "option --segments"),
        shift=given(options.shift_place, PLACE_OPTION),
        shift_div=given(options.shift_div, "option --shift-div"),
        shift_segments=given(options.shift_segments, "option"),
        shift_direction=given(options.shift_direction, "option --shift-direction"),
        consensus=given(options.consensus, "option --consensus"),
        color=given(options.color, "option --color"),
        activation=given(options.activation, "option --activation"),
        interval=given(options.interval, INTERVAL_OPTION),
        non_local_mode=given(options.non_local_mode, "option"),
        size=given(options.size, "option --size"),
        full_res=given(options.full_res or None, "option --full-res"),
        fps=given(options.fps, "option --fps"),
        horizon=given(options.horizon, "option --horizon"),
        own={name: Fact(value, f"{_FACT_OPTION} {name}") for name, value in options.own.items()},
    )


def _clip_facts(
    topology: Topology,
    options: Options,
    sources: Sequence[Hints],
    labels: Labels,
    settled: Settled,
    picture: Picture,
) -> Facts:
    """Settle what describes the clip form."""
    sampling = one_of("sampling", _first(sources, "sampling"), list(RULES))
    interval = _interval(sampling, sources)
    return Facts(
        format=Fact(topology.convention.name, "key names"),
        backbone=Fact(settled.network.name, "weights"),
        own=settled.own,
        classes=Fact(topology.classes, topology.head),
        segments=settled.segments,
        color=one_of("color", first((hints.color for hints in sources), UNKNOWN), _COLORS),
        activation=_activation(topology.classes, sources),
        sampling=sampling,
        interval=interval,
        size=picture.size,
        resize=Fact(_describe(picture.resize.value), picture.resize.source),
        window_s=_window(options, sources, _span(settled.segments, interval, sources)),
        labels=Fact(_shorten(labels.names), labels.source),
        batch=_batch(options),
        weights=topology.weights,
        dynamic_batch=given(options.dynamic_batch or None, "option --dynamic-batch"),
    )


def _activation(classes: int, sources: Sequence[Hints]) -> Fact[Activation]:
    """Settle what turns logits into probabilities, which is no part of the network."""
    usual: Fact[object] = Fact("softmax", "default")
    claim = first((hints.activation for hints in sources), usual)
    activation = one_of("activation", claim, _ACTIVATIONS)
    if classes == 1 and activation.value == "softmax":
        raise CheckpointError(
            "the head has one class, of which softmax is always 100 %; pass --activation sigmoid "
            "for its own probability"
        )
    return activation


def _variant(network: Network, sources: Sequence[Hints]) -> tuple[Network, Fact[str]]:
    """Settle which of the networks that fit the weights it is, by the name somebody gave it.

    Raises:
        CheckpointError: nobody did, or the option names another network.
    """
    claims = [hints.backbone for hints in sources if hints.backbone is not None]
    for claim in claims:
        for name, variant in network.variants.items():
            if _names(claim.value, name):
                return variant, Fact(name, claim.source)
    if network.variants:
        known = " and ".join(network.variants)
        raise CheckpointError(
            f"the weights fit {known}, which name them alike and pad pictures differently; pass "
            f"--backbone with the name it was built by, {' or '.join(network.variants)}"
        )
    if (
        claims
        and claims[0].source == _BACKBONE_OPTION
        and not _names(claims[0].value, network.name)
    ):
        raise CheckpointError(
            f"--backbone {claims[0].value} contradicts the weights, which are those of "
            f"{network.name}; leave it out"
        )
    if "[" in network.name and claims and not any(_names(c.value, network.name) for c in claims):
        raise CheckpointError(
            f"{claims[0].source} says backbone {claims[0].value}, and the weights have blocks as "
            f"nobody publishes them, {network.name}: pass a file with all weights, or "
            f"--backbone '{network.name}' if it was built so"
        )
    return network, Fact(network.name, "weights")


def _names(claim: object, name: str) -> bool:
    """Return whether a claim is a network's name, or that with tags (`tf_efficientnet_b0_ns`)."""
    spelled = str(claim).lower().replace("-", "_").replace("mobilenet_v", "mobilenetv")
    return re.match(rf"{re.escape(name)}(?![a-z0-9])", spelled) is not None


def _interval(rule: Fact[str], sources: Sequence[Hints]) -> Fact[int] | None:
    """Return the frames from one of a clip to the next, for the rules that have them.

    Raises:
        CheckpointError: nobody told.
    """
    claim = first((hints.interval for hints in sources), UNKNOWN)
    if not RULES[rule.value].interval:
        if claim.source == INTERVAL_OPTION:
            raise CheckpointError(
                f"--interval {claim.value}: {rule.source} spreads frames over the whole of a clip "
                f"({rule.value}), which has no interval; leave it out"
            )
        return None
    if claim.value is None:
        raise CheckpointError(
            "nothing tells how many frames lie between two of a clip, neither the file nor its "
            "name; pass --interval (8x32 in a name means 8 frames, 32 apart)"
        )
    return integer("interval", claim, 1, MOST_INTERVAL)


def _span(
    segments: Fact[int], interval: Fact[int] | None, sources: Sequence[Hints]
) -> Fact[float] | None:
    """Return the seconds that a clip of fixed length takes."""
    if interval is None:
        return None
    rate = _first(sources, "rate").value or USUAL_FPS
    source = f"{segments.value} x {interval.value} frames at {rate:g} fps"
    return Fact(round(segments.value * interval.value / rate, 3), source)


def _sampling(facts: Facts, sources: Sequence[Hints]) -> Sampling:
    return Sampling(
        facts.sampling.value,
        facts.segments.value,
        facts.window_s.value,
        EVERY_S,
        interval=facts.interval.value if facts.interval else None,
        fps=_first(sources, "rate").value if facts.interval else None,
    )


def _window(options: Options, sources: Sequence[Hints], span: Fact[float] | None) -> Fact[float]:
    window = given(options.window_s, "option --window") or span or _trained_window(sources)
    if not 0 < window.value < 3600:
        raise CheckpointError(f"window is {window.value} s; it must be between 0 and 3600")
    return window


def _trained_window(sources: Sequence[Hints]) -> Fact[float]:
    for hints in sources:
        if hints.dense is not None and hints.dense.value:
            return Fact(round(_DENSE_WINDOW_S, 2), f"dense sampling in {hints.dense.source}")
        if hints.dataset is not None and (name := str(hints.dataset.value)) in _WINDOW_S:
            return Fact(_WINDOW_S[name], f"dataset {name} in {hints.dataset.source}")
    return Fact(_DEFAULT_WINDOW_S, "default")


def _batch(options: Options) -> Fact[int]:
    if options.dynamic_batch and options.batch != 1:
        raise CheckpointError(
            f"--dynamic-batch takes any number of clips, --batch {options.batch} exactly so many; "
            "pass one of them"
        )
    source = "option --batch" if options.batch != 1 else "default"
    return integer("batch", Fact(options.batch, source), 1, 1024)


def _labels(topology: Topology, options: Options, sources: Sequence[Hints]) -> Labels:
    if options.labels is not None:
        convention = topology.convention
        labels = read_labels(options.labels).of_code_base(convention.name, convention.sorts)
        if len(labels.names) != topology.classes:
            raise CheckpointError(
                f"{options.labels} has {len(labels.names)} labels, the checkpoint "
                f"{topology.classes} classes; pass the list the model was trained with"
            )
        return labels
    for hints in sources:
        if hints.labels is not None and len(hints.labels.value) == topology.classes:
            return Labels(tuple(hints.labels.value), hints.labels.source)
    return default_labels(topology.classes)


def preprocess_of(
    convention: Convention, color: Color, picture: Picture | None = None
) -> Preprocess:
    """Return the card's preprocessing by the habits of a code base.

    Without a `picture` it is the code base's usual one.
    """
    picture = picture or _usual_picture(convention)
    return Preprocess(
        color=color,
        resize=picture.resize.value,
        crop_px=picture.size.value,
        crop_offset=convention.crop_offset,
        scale=convention.scale,
        mean=convention.mean,
        std=convention.std,
    )


def _usual_picture(convention: Convention) -> Picture:
    return settle_picture(Fact(convention.resize, convention.name), ())


def _picture(sources: Sequence[Hints]) -> Picture:
    return settle_picture(_first(sources, "resize"), sources)


def _first(sources: Sequence[Hints], name: str) -> Fact[Any]:
    """Return the first claim of a name for which the code base always has one."""
    return first((getattr(hints, name) for hints in sources), UNKNOWN)


def _preprocess(
    convention: Convention, color: Color, picture: Picture, sources: Sequence[Hints]
) -> Preprocess:
    """Return the card's preprocessing, as the file has it, else its code base."""
    values = {name: _first(sources, name).value for name in ("scale", "mean", "std")}
    return replace(preprocess_of(convention, color, picture), **values)


def _describe(resize: Resize) -> str:
    shape = "" if resize.aspect == "keep" else f", squashed to {resize.aspect}"
    return f"{resize.short_side_px}, {'' if resize.antialias else 'not '}antialiased{shape}"


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{len(names)}: {shown}, …"


# --- the online form -----------------------------------------------------------------------------


def _refuse_online_options(options: Options) -> None:
    for name, value in (("fps", options.fps), ("horizon", options.horizon)):
        if value is not None:
            raise CheckpointError(f"--{name} is for online models; add --online")


def _online(network: Network, options: Options, facts: Facts, sources: Sequence[Hints]) -> Facts:
    """Turn the facts of the clip form into those of the online form."""
    if reason := network.offline_reason:
        raise CheckpointError(f"{network.name} cannot run online: {reason}; leave out --online")
    return _with_rates(replace(facts, mode=Fact("online", "option")), options, sources)


def _with_rates(facts: Facts, options: Options, sources: Sequence[Hints]) -> Facts:
    """Settle steps per second, how many of them an answer averages, and the seconds these span."""
    window_s, segments = facts.window_s.value, facts.segments.value
    horizon = first((hints.horizon for hints in sources), Fact(segments, "segments"))
    if options.window_s is not None and options.fps is None:
        fps = Fact(round(horizon.value / window_s, 3), "horizon in --window")
    else:
        default = Fact(round(segments / window_s, 3), f"segments in {window_s:g} s")
        fps = first((hints.fps for hints in sources), default)
    for name, value in (("fps", fps.value), ("horizon", horizon.value)):
        if not 0 < value <= MOST_FPS:
            raise CheckpointError(f"{name} is {value}; it must be more than 0, at most {MOST_FPS}")
    seen = Fact(round(horizon.value / fps.value, 3), "horizon / fps")
    return replace(facts, fps=fps, horizon=horizon, window_s=seen)


# --- warnings ------------------------------------------------------------------------------------


def _contradictions(facts: Facts, sources: Iterable[Hints]) -> Iterator[str]:
    """Compare hints about the topology with the weights, which win."""
    for hints in sources:
        if hints.backbone is not None and not _names(hints.backbone.value, facts.backbone.value):
            yield (
                f"{hints.backbone.source} says backbone {hints.backbone.value}, the weights say "
                f"{facts.backbone.value}"
            )


def _label_warnings(labels: Labels, convention: Convention) -> Iterator[str]:
    known = misordered(labels.names, convention.sorts)
    if known:
        order = "sorted" if known in convention.sorts else "the data set's own"
        yield (
            f"the labels are {known}'s in another order than {convention.name} trains with "
            f"({order}); they are taken as they stand, --labels {known} gives that order"
        )
    sets = fitting(len(labels.names))
    if labels.names == default_labels(len(labels.names)).names and sets:
        yield (
            f"{len(labels.names)} classes and no names: if it was trained on "
            f"{' or '.join(sets)}, pass --labels {sets[0]}, else a file"
        )
