"""What will be converted: the network of a checkpoint, and the facts its weights do not show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from converters.architectures.base import Network, ShiftPlace, refuse_offline, shift_place
from converters.architectures.non_local import NonLocalMode
from converters.architectures.shift import DIRECTIONS, Direction, Shift
from converters.facts import UNKNOWN, Fact, Facts, Hints, first, given, integer, one_of
from converters.picture import Picture, settle_picture
from edge_tsm.bundle.card import Preprocess, Resize, Streaming
from edge_tsm.bundle.data_sets import fitting, misordered
from edge_tsm.bundle.labels import Labels, default_labels, read_labels
from edge_tsm.datatypes import Activation, Color
from edge_tsm.errors import CheckpointError

# Seconds of video that training clips of a dataset span; only a start value for live windows.
_WINDOW_S = {"kinetics": 10.0, "something": 4.0, "somethingv2": 4.0, "jester": 3.0}
_DENSE_WINDOW_S = 64 / 30
_DEFAULT_WINDOW_S = 3.0
_COLORS: tuple[Color, ...] = ("rgb", "bgr")
_ACTIVATIONS = get_args(Activation)
_WEIGHTED_MODES: tuple[NonLocalMode, ...] = ("embedded_gaussian", "dot_product")
MOST_FPS = 1000
_PLACES: tuple[ShiftPlace, ...] = ("blockres", "block", "none")
_PLACE_OPTION = "option --shift-place"
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
    whose shift looks both ways.
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


@dataclass(frozen=True)
class Convention:
    """What a code base does the same way for all its networks, and puts into no checkpoint.

    `defaults` are hints by name (see `Hints`); a `shift_div` of None is the number of segments.
    `sorts` are the data sets (of DATA_SETS) whose own list of classes it sorts.
    """

    name: str
    shift_direction: str
    sampling: str
    resize: Resize
    defaults: Mapping[str, Any]
    crop_offset: Literal["even", "floor"] = "even"
    sorts: frozenset[str] = frozenset()


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
    shift: Shift
    sampling: str
    preprocess: Preprocess
    window_s: float
    batch: int
    labels: Labels
    facts: Facts
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
        TypeError: a reader's hint has an unknown name.
    """
    sources = _sources(topology, options)
    labels = _labels(topology, options, sources)
    network, shift = _shift(topology, sources)
    network, backbone = _variant(network, sources)
    topology = replace(topology, network=network, shift_source=shift.source)
    network, mode = _non_local(network, sources)
    picture = _usual_picture(topology.convention, sources)
    facts = _clip_facts(topology, options, sources, labels, mode, picture)
    facts = replace(facts, backbone=backbone)
    if options.online or options.force_online:
        facts = _online(network, options, facts, sources)
    else:
        _refuse_online_options(options)
    return Recipe(
        network=network,
        classes=topology.classes,
        segments=facts.segments.value,
        shift=Shift(
            (facts.shift_segments or facts.segments).value,
            facts.shift_div.value,
            facts.shift_direction.value,
        ),
        sampling=facts.sampling.value,
        preprocess=preprocess_of(topology.convention, facts.color.value, picture),
        window_s=facts.window_s.value,
        batch=facts.batch.value,
        labels=labels,
        facts=facts,
        warnings=[
            *topology.warnings,
            *_contradictions(facts, sources),
            *_forced(facts),
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
    return [
        _chosen(options),
        *(Hints.of(source, values) for source, values in topology.hints),
        Hints.of("default", topology.convention.defaults),
    ]


def _chosen(options: Options) -> Hints:
    """Return what the user has chosen."""
    return Hints(
        backbone=given(options.backbone, _BACKBONE_OPTION),
        segments=given(options.segments, "option --segments"),
        shift=given(options.shift_place, _PLACE_OPTION),
        shift_div=given(options.shift_div, "option --shift-div"),
        shift_segments=given(options.shift_segments, "option"),
        shift_direction=given(options.shift_direction, "option --shift-direction"),
        consensus=given(options.consensus, "option --consensus"),
        color=given(options.color, "option --color"),
        activation=given(options.activation, "option --activation"),
        non_local_mode=given(options.non_local_mode, "option"),
        size=given(options.size, "option --size"),
        full_res=given(options.full_res or None, "option --full-res"),
        fps=given(options.fps, "option --fps"),
        horizon=given(options.horizon, "option --horizon"),
    )


def _clip_facts(
    topology: Topology,
    options: Options,
    sources: Sequence[Hints],
    labels: Labels,
    mode: Fact[NonLocalMode] | None,
    picture: Picture,
) -> Facts:
    """Settle what describes the clip form."""
    network, convention = topology.network, topology.convention
    place, shifted = shift_place(network), [where != "none" for where in network.shifts]
    segments = _segments(network, sources)
    by_segments = Fact(segments.value, f"{convention.name}: segments")
    shift_div = first((hints.shift_div for hints in sources), by_segments)
    return Facts(
        format=Fact(convention.name, "key names"),
        backbone=Fact(network.name, "weights"),
        shift=Fact(place, str(topology.shift_source)),
        shifted_blocks=Fact(f"{sum(shifted)} of {len(shifted)}", str(topology.shift_source)),
        non_local=Fact(network.non_local_blocks, "weights"),
        temporal_pool=Fact(network.temporal_pool, "weights"),
        classes=Fact(topology.classes, topology.head),
        segments=segments,
        shift_div=integer("shift_div", shift_div, 2, 128),
        consensus=_consensus(sources),
        color=one_of("color", first((hints.color for hints in sources), UNKNOWN), _COLORS),
        activation=_activation(topology.classes, sources),
        shift_segments=_shift_segments(segments, sources),
        non_local_mode=mode,
        shift_direction=_direction(convention, sources),
        sampling=Fact(convention.sampling, convention.name),
        size=picture.size,
        resize=Fact(_describe(picture.resize.value), picture.resize.source),
        window_s=_window(options, sources),
        labels=Fact(_shorten(labels.names), labels.source),
        batch=_batch(options),
        weights=topology.weights,
        dynamic_batch=given(options.dynamic_batch or None, "option --dynamic-batch"),
    )


# --- the shift -----------------------------------------------------------------------------------


def _shift(topology: Topology, sources: Sequence[Hints]) -> tuple[Network, Fact[ShiftPlace]]:
    """Settle where the network is shifted: by its weights, else by what is stated.

    Raises:
        CheckpointError: statements contradict the weights or each other, or there is no evidence.
    """
    network = topology.network
    claims = [_claimed(network, hints.shift) for hints in sources if hints.shift is not None]
    if topology.shift_source is not None:
        shown = Fact(shift_place(network), topology.shift_source)
        _refuse_contradiction(claims, shown)
        return network, shown
    if not claims:
        raise CheckpointError(
            f"nothing shows whether this {network.name} shifts frames, neither its names nor "
            "arguments in or beside the file: it may be a TSM whose code shifts in a function, a "
            "TSN, a plain image classifier, or an online model; pass --shift-place blockres or "
            "block for a TSM (blockres is the official default), --shift-place none, or --online"
        )
    if claims[0].source != _PLACE_OPTION:
        _refuse_contradiction(claims[1:], claims[0])
    return network.with_shifts(claims[0].value), claims[0]


def _claimed(network: Network, claim: Fact[object]) -> Fact[ShiftPlace]:
    """Return a statement as the network understands it: some have one place, whatever is said."""
    place = one_of("shift place", claim, _PLACES)
    return (
        place
        if place.value == "none"
        else replace(place, value=shift_place(network.with_shifts(place.value)))
    )


def _refuse_contradiction(claims: Iterable[Fact[ShiftPlace]], other: Fact[ShiftPlace]) -> None:
    weights = other.source.startswith("weights")
    says = f"the {other.source} show" if weights else f"{other.source} says"
    for claim in claims:
        if claim.value == other.value:
            continue
        if claim.source == _PLACE_OPTION:
            advice = "leave out the option"
        else:
            advice = "remove or rename what is wrong" if weights else "decide with --shift-place"
        raise CheckpointError(
            f"{claim.source} says shift {claim.value}, {says} {other.value}; the answers depend on "
            f"it: {advice}"
        )


# --- single facts --------------------------------------------------------------------------------


def _segments(network: Network, sources: Sequence[Hints]) -> Fact[int]:
    fewest = 1 if shift_place(network) == "none" else 2
    claim = first((hints.segments for hints in sources), UNKNOWN)
    segments = integer("segments", claim, fewest, 128)
    if network.temporal_pool and segments.value % 2:
        raise CheckpointError(f"temporal pooling halves the segments; {segments.value} is odd")
    return segments


def _consensus(sources: Sequence[Hints]) -> Fact[str]:
    claim = first((hints.consensus for hints in sources), UNKNOWN)
    if claim.value != "avg":
        raise CheckpointError(
            f"consensus {claim.value!r} ({claim.source}) leaves one answer per frame; pass "
            "--consensus avg to average them"
        )
    return Fact("avg", claim.source)


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


def _direction(convention: Convention, sources: Sequence[Hints]) -> Fact[Direction]:
    usual: Fact[object] = Fact(convention.shift_direction, convention.name)
    claim = first((hints.shift_direction for hints in sources), usual)
    return one_of("shift_direction", claim, DIRECTIONS)


def _shift_segments(segments: Fact[int], sources: Sequence[Hints]) -> Fact[int] | None:
    """Return how many frames are shifted together, where that is not the whole clip."""
    # A file's parts belong to a clip of its own length, not to one the user chose.
    trusted = sources[:1] if segments.source == "option --segments" else sources
    for part in (hints.shift_segments for hints in trusted):
        if part is None or part.value == segments.value:
            continue
        if not isinstance(part.value, int) or part.value < 2 or segments.value % part.value:
            raise CheckpointError(
                f"{part.source} shifts {part.value!r} frames together, but {segments.value} frames "
                "cannot be cut into such parts"
            )
        return Fact(part.value, part.source)
    return None


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
    return network, Fact(network.name, "weights")


def _names(claim: object, name: str) -> bool:
    """Return whether a claim is a network's name, or that with tags (`tf_efficientnet_b0_ns`)."""
    spelled = str(claim).lower().replace("-", "_").replace("mobilenet_v", "mobilenetv")
    return re.match(rf"{re.escape(name)}(?![a-z0-9])", spelled) is not None


def _non_local(
    network: Network, sources: Sequence[Hints]
) -> tuple[Network, Fact[NonLocalMode] | None]:
    """Settle how non-local blocks relate positions, which their weights show in part."""
    known = network.non_local_mode
    if known is None:
        return network, None
    for hints in () if known == "gaussian" else sources:
        if hints.non_local_mode is not None:
            mode = one_of("non-local mode", hints.non_local_mode, _WEIGHTED_MODES)
            scale = hints.non_local_scale is not None and bool(hints.non_local_scale.value)
            return network.with_non_local(mode.value, scale=scale), mode
    return network, Fact(known, "weights")


def _window(options: Options, sources: Sequence[Hints]) -> Fact[float]:
    window = given(options.window_s, "option --window") or _trained_window(sources)
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
    """Return the card's preprocessing; scale, mean and std are the same in all code bases.

    Without a `picture` it is the code base's usual one.
    """
    picture = picture or _usual_picture(convention)
    return Preprocess(
        color=color,
        resize=picture.resize.value,
        crop_px=picture.size.value,
        crop_offset=convention.crop_offset,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def _usual_picture(convention: Convention, sources: Sequence[Hints] = ()) -> Picture:
    return settle_picture(Fact(convention.resize, convention.name), sources)


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
    trained = facts.shift_direction
    refuse_offline(network, trained.value, force=options.force_online)
    if facts.shift_segments is not None:
        raise CheckpointError("an online model shifts from frame to frame, not in parts of a clip")
    facts = _with_rates(replace(facts, mode=Fact("online", "option")), options, sources)
    if trained.value == "past":
        return facts
    return replace(
        facts,
        shift_direction=Fact("past", "--force-online"),
        forced_online=Fact(f"trained {trained.value}", trained.source),
    )


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
        for name, claim, found in (
            ("non-local", hints.non_local, facts.non_local),
            ("temporal pool", hints.temporal_pool, facts.temporal_pool),
        ):
            if claim is not None and claim.value != found.value:
                yield (f"{claim.source} says {name} {claim.value}, the weights say {found.value}")


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


def _forced(facts: Facts) -> Iterator[str]:
    if facts.forced_online is not None:
        yield (
            f"forced online: this network was {facts.forced_online.value} and answers poorly when "
            "it sees the past only; measure before you rely on it"
        )
