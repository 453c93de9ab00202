"""What a network is: topology, read from the weights, and the facts that weights cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from converters.labels import Labels, default_labels, read_labels
from edge_tsm.datatypes import Color
from edge_tsm.errors import CheckpointError

ShiftPlace = Literal["none", "block", "blockres"]
Direction = Literal["future-past"]

# Seconds of video that training clips of a dataset span; only a start value for live windows.
_WINDOW_S = {"kinetics": 10.0, "something": 4.0, "somethingv2": 4.0, "jester": 3.0}
_DENSE_WINDOW_S = 64 / 30
_DEFAULT_WINDOW_S = 3.0


@dataclass(frozen=True)
class ResidualBlock:
    """One ResNet block: where its input is shifted, and whether a non-local block follows."""

    shift: ShiftPlace
    non_local: bool = False


@dataclass(frozen=True)
class ResNet:
    """A torchvision ResNet; `width` is the 3x3 convolutions' channel count in the first stage."""

    name: str
    bottleneck: bool
    width: int
    stages: tuple[tuple[ResidualBlock, ...], ...]
    temporal_pool: bool

    @property
    def features(self) -> int:
        """Channels after the last stage."""
        last: int = 64 << (len(self.stages) - 1)
        return last * (4 if self.bottleneck else 1)


@dataclass(frozen=True)
class InvertedResidual:
    """One MobileNetV2 block; `hidden` equals `inputs` where there is no expansion."""

    inputs: int
    hidden: int
    outputs: int
    stride: int
    expand: bool
    shift: bool


@dataclass(frozen=True)
class MobileNetV2:
    """MobileNetV2 in upstream's form."""

    name: str
    stem: int
    blocks: tuple[InvertedResidual, ...]
    features: int
    temporal_pool: bool = False


Network = ResNet | MobileNetV2


@dataclass(frozen=True)
class Fact:
    """A value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Options:
    """What the user may say about a checkpoint; None leaves it to the other sources."""

    segments: int | None = None
    shift_div: int | None = None
    consensus: str | None = None
    color: str | None = None
    labels: str | None = None
    window_s: float | None = None
    batch: int = 1


@dataclass(frozen=True)
class Topology:
    """What a checkpoint reader found: the network, its size, hints beside the weights, defaults.

    `hints` are (source, facts) pairs in order of trust.
    """

    network: Network
    classes: int
    shift_place: ShiftPlace
    facts: Mapping[str, Fact]
    hints: Sequence[tuple[str, Mapping[str, Any]]]
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Everything needed to build the reference network and to write the card."""

    network: Network
    classes: int
    segments: int
    shift_div: int
    direction: Direction
    shift_place: ShiftPlace
    color: Color
    window_s: float
    batch: int
    labels: Labels
    facts: dict[str, Fact]
    warnings: list[str] = field(default_factory=list)

    @property
    def order_sensitive(self) -> bool:
        """Whether the answer depends on the order of frames, as far as the topology says."""
        return self.shift_place != "none" or self.network.temporal_pool


def resolve(topology: Topology, options: Options) -> Recipe:
    """Settle every fact: option, then hints beside the weights, then default.

    Raises:
        CheckpointError: facts that contradict the weights or cannot be served.
        ConversionError: an unreadable label file.
    """
    facts = dict(topology.facts)
    sources = [("option", vars(options)), *topology.hints, ("default", topology.defaults)]
    for name in ("segments", "shift_div", "consensus", "color"):
        facts[name] = _first(name, sources)
    facts["window_s"] = _window(options, topology)
    labels = _labels(topology, options)
    facts["labels"] = Fact(_shorten(labels.names), labels.source)
    if options.batch < 1:
        raise CheckpointError(f"batch is {options.batch}; it must be 1 or more")
    facts["batch"] = Fact(options.batch, "option" if options.batch != 1 else "default")
    _check(topology, facts)
    return Recipe(
        network=topology.network,
        classes=topology.classes,
        segments=facts["segments"].value,
        shift_div=facts["shift_div"].value,
        direction="future-past",
        shift_place=topology.shift_place,
        color=facts["color"].value,
        window_s=facts["window_s"].value,
        batch=options.batch,
        labels=labels,
        facts=facts,
        warnings=list(_contradictions(topology)),
    )


def _first(name: str, sources: Sequence[tuple[str, Mapping[str, Any]]]) -> Fact:
    for source, values in sources:
        if values.get(name) is not None:
            named = f"option --{name.replace('_', '-')}" if source == "option" else source
            return Fact(values[name], named)
    raise CheckpointError(f"nothing says {name}; pass --{name.replace('_', '-')}")


def _window(options: Options, topology: Topology) -> Fact:
    if options.window_s is not None:
        return Fact(options.window_s, "option --window")
    for source, values in topology.hints:
        if values.get("dense"):
            return Fact(round(_DENSE_WINDOW_S, 2), f"dense sampling in {source}")
        if values.get("dataset") in _WINDOW_S:
            dataset = str(values["dataset"])
            return Fact(_WINDOW_S[dataset], f"dataset {dataset} in {source}")
    return Fact(_DEFAULT_WINDOW_S, "default")


def _labels(topology: Topology, options: Options) -> Labels:
    if options.labels is None:
        return default_labels(topology.classes)
    labels = read_labels(options.labels)
    if len(labels.names) != topology.classes:
        raise CheckpointError(
            f"{options.labels} has {len(labels.names)} labels, the checkpoint {topology.classes} "
            "classes; pass the list the model was trained with"
        )
    return labels


def _check(topology: Topology, facts: Mapping[str, Fact]) -> None:
    segments, div = facts["segments"].value, facts["shift_div"].value
    fewest = 1 if topology.shift_place == "none" else 2
    for name, value, low, high in (("segments", segments, fewest, 128), ("shift_div", div, 2, 64)):
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
    if topology.network.temporal_pool and segments % 2:
        raise CheckpointError(f"temporal pooling halves the segments; {segments} is odd")


def _contradictions(topology: Topology) -> list[str]:
    """Compare what names and side files say about the topology with the weights, which win."""
    found = []
    for source, values in topology.hints:
        for name in ("backbone", "shift", "non-local", "temporal pool"):
            said, is_ = values.get(name), topology.facts.get(name)
            if said is not None and is_ is not None and said != is_.value:
                found.append(f"{source} says {name} {said}, the weights say {is_.value}")
    return found


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{len(names)}: {shown}, …"
