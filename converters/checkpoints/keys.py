"""What readers share: what a reader is, collecting blocks, finding the classifier, literals."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from converters.architectures.base import FrameNetwork, ShiftPlace
from converters.architectures.classifier import COUNTER, few
from converters.architectures.layers import Activation
from converters.architectures.mobilenet import (
    MOBILENET_V2_STRIDES,
    MOBILENET_V3_FORMS,
    InvertedResidual,
    MobileNet,
    V3Form,
)
from converters.architectures.non_local import NonLocal
from converters.architectures.resnet import ResidualBlock, ResNet
from converters.architectures.shift import Shift
from converters.recipe import Topology
from edge_tsm.errors import CheckpointError

Tensors = dict[str, Tensor]
UNUSED = "unused."
"""Before the name of a tensor that a reader knows to be no part of the network."""
MOST_BLOCKS = 64  # per stage; a number beyond that is no ResNet's


class Read(Protocol):
    """How the checkpoints of a code base are read."""

    def __call__(
        self, tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
    ) -> tuple[Topology, Tensors]:
        """Return the topology and the weights under canonical names.

        Args:
            tensors: the network's, without what precedes its names (`module.`); and what lies
                beside it, without what its names share with that. Tensors that the network does not
                have are returned too, under any name: what they mean is judged for all readers.
            outer: what else the file holds.
            path: where it lies, for names and side files.
            online: what shows no shifts is an online model, not an image classifier.

        Raises:
            CheckpointError: not a network that can be converted.
        """
        ...


@dataclass(frozen=True)
class Reader:
    """The checkpoints of a code base; `name` is what the command line calls it.

    `recognizes` tells by the names of a network, from its own first part on; `example` are such.
    """

    name: str
    recognizes: Callable[[Iterable[str]], bool]
    read: Read
    example: str = ""


@dataclass(frozen=True)
class BlockKey:
    """One key taken apart: canonical rest of the name, and what it reveals about its block.

    `stage` counts from 1; 0 for what is outside the stages.
    """

    rest: str
    tensor: Tensor
    stage: int = 0
    index: int = 0
    shift: str = "none"
    pooled: bool = False


@dataclass
class _Found:
    """What the keys of one block reveal."""

    shifts: set[str] = field(default_factory=set)
    non_local: bool = False
    squeeze: int = 0
    eca: int = 0

    def add(self, key: BlockKey) -> None:
        """Take note of one key."""
        self.shifts.add(key.shift)
        self.non_local |= key.rest.startswith("nl.")
        if key.rest == "squeeze.reduce.weight":
            self.squeeze = key.tensor.shape[0]
        elif key.rest == "squeeze.conv.weight":
            self.eca = key.tensor.shape[-1]

    def block(self) -> ResidualBlock:
        """Return the block."""
        return ResidualBlock(_place(self.shifts), self.non_local, self.squeeze, self.eca)


def resnet(
    names: Mapping[str, Tensor],
    take_apart: Callable[[str, Tensor], BlockKey | None],
    *,
    activation: Activation = "relu",
    legacy: bool = False,
) -> tuple[ResNet, Tensors]:
    """Return the ResNet that keys describe, and its weights under canonical names.

    What `take_apart` does not know keeps its name.

    Raises:
        CheckpointError: not a whole ResNet, or one that no code base builds.
    """
    blocks: dict[tuple[int, int], _Found] = {}
    canonical: Tensors = {}
    pooled = False
    for name, tensor in names.items():
        key = None if name.startswith("head.") else take_apart(name, tensor)
        if key is None:
            canonical[name] = tensor
            continue
        place = f"layer{key.stage}.{key.index}." if key.stage else ""
        canonical[f"backbone.{place}{key.rest}"] = key.tensor
        if key.stage:
            blocks.setdefault((key.stage, key.index), _Found()).add(key)
            pooled |= key.pooled
    refuse_duplicates(names, canonical, "a wrapper's name")
    non_local = any(found.non_local for found in blocks.values())
    width, groups = _grouped_convolution(canonical)
    network = ResNet(
        bottleneck=any(".conv3." in name for name in canonical),
        width=width,
        stages=tuple(_stage(blocks, stage) for stage in range(1, 5)),
        temporal_pool=pooled,
        non_local=_non_local_kind(canonical) if non_local else NonLocal(),
        groups=groups,
        stem=_stem(canonical),
        activation=activation,
        legacy=legacy,
    )
    _check(network)
    return network, canonical


def split_backbone(network: FrameNetwork, canonical: Tensors) -> tuple[Tensors, Tensors]:
    """Return the network's own tensors, and all others under the names of the file."""
    own = _own_names(network)
    layers = {name: tensor for name, tensor in canonical.items() if name in own}
    rest = {n.removeprefix("backbone."): t for n, t in canonical.items() if n not in own}
    return layers, rest


def is_whole(network: FrameNetwork, canonical: Tensors) -> bool:
    """Return whether no layer of the backbone is missing."""
    return _own_names(network) <= canonical.keys()


def _own_names(network: FrameNetwork) -> set[str]:
    with torch.device("meta"):
        names = network.build(Shift(8, 8)).state_dict()
    return {f"backbone.{name}" for name in names if not name.endswith(COUNTER)}


def find_head(names: Mapping[str, Tensor], heads: Sequence[str]) -> tuple[str, int, Tensors]:
    """Return the classifier's name, the class count, and all tensors with it named `head`.

    The classifier is returned under its canonical name `head.*`; nothing else is renamed.

    Args:
        names: all tensors.
        heads: what the code base calls its classifier, in order of trust.

    Raises:
        CheckpointError: there is no classifier.
    """
    for head in heads:
        weight = names.get(f"{head}.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[0] > 0:
            return head, int(weight.shape[0]), _with_head(names, head)
    raise CheckpointError(f"no classifier: none of {', '.join(heads)} has a 2-D weight")


def search_head(
    names: Mapping[str, Tensor], features: int, old: Sequence[str]
) -> tuple[str, int, Tensors]:
    """Return what `find_head` does, whatever the classifier is called.

    It is the one layer whose weight takes `features` numbers. Where there are two, one of which
    is the backbone's own (one of `old`), that one is left over and is marked `UNUSED`. A bias that
    the layer does not have is zero.

    Raises:
        CheckpointError: there is none, or several.
    """
    fitting = {
        name.removesuffix(".weight"): int(weight.shape[0])
        for name, weight in names.items()
        if name.endswith(".weight") and weight.ndim == 2 and weight.shape[1] == features
    }
    new = [head for head in fitting if head not in old] or list(fitting)
    chosen = ["new_fc"] if "new_fc" in fitting else new
    if len(chosen) != 1 or not fitting[chosen[0]]:
        raise CheckpointError(_no_head(names, features, {name: fitting[name] for name in chosen}))
    (head,) = chosen
    left = {name for name in fitting if name in old and name != head}
    rest = {
        f"{UNUSED}{name}" if name.rpartition(".")[0] in left else name: tensor
        for name, tensor in _with_head(names, head).items()
    }
    rest.setdefault("head.bias", torch.zeros(fitting[head]))
    return head, fitting[head], rest


def _with_head(names: Mapping[str, Tensor], head: str) -> Tensors:
    own = {f"{head}.{kind}": f"head.{kind}" for kind in ("weight", "bias")}
    return {own.get(name, name): tensor for name, tensor in names.items()}


def _no_head(names: Mapping[str, Tensor], features: int, fitting: Mapping[str, int]) -> str:
    if fitting:
        found = ", ".join(f"{name} ({count} classes)" for name, count in fitting.items())
        return (
            f"several classifiers: {found}; save a state dict with the one whose answers you want"
        )
    linear = [f"{n} {tuple(t.shape)}" for n, t in names.items() if t.ndim == 2]
    seen = f"; 2-D weights are {few(linear)}" if linear else ""
    return f"no classifier: no 2-D weight takes the {features} features of the network{seen}"


def refuse_stem(name: str, channels: int) -> None:
    """Refuse a network that does not look at RGB frames, by the channels its first layer takes.

    Raises:
        CheckpointError: it says what such a network looks at.
    """
    if channels == 3:
        return
    flow = (
        f"an optical-flow network ({channels // 2} pairs of x and y)" if channels % 2 == 0 else ""
    )
    kind = _STEMS.get(channels) or flow or "not pictures that are known here"
    raise CheckpointError(
        f"{name} takes {channels} channels: {kind}; edge-tsm converts networks of RGB frames, as "
        "cameras and videos give them: train one on those"
    )


_STEMS = {
    1: "a grayscale network",
    4: "an RGB-D network (or RGBA)",
    15: "an RGBDiff network, whose clips are runs of six neighboring frames per segment and not "
    "the evenly spaced ones of a camera's window",
}


def refuse_duplicates(
    names: Mapping[str, Tensor], renamed: Mapping[str, Tensor], wrapper: str
) -> None:
    """Refuse tensors of which two got the same name.

    Raises:
        CheckpointError: it names the `wrapper` that some names have and some lack.
    """
    if len(renamed) != len(names):
        raise CheckpointError(f"duplicate weights, with and without {wrapper}")


def numbers(names: Iterable[str], prefix: str) -> set[int]:
    """Return the numbers that follow `prefix` in names, up to the next dot."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
    return {int(match[1]) for match in map(pattern.match, names) if match}


def literal(node: ast.expr) -> Any:
    """Return the value of literals, lists and `dict(key=…)`, nested; None for anything else."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "dict":
        return {k.arg: literal(k.value) for k in node.keywords if k.arg}
    if isinstance(node, ast.List | ast.Tuple):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {literal(key): literal(value) for key, value in pairs if key is not None}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _grouped_convolution(canonical: Tensors) -> tuple[int, int]:
    """Return width and groups of the 3x3 convolutions of the first stage."""
    weight = canonical.get("backbone.layer1.0.conv2.conv.weight")
    if weight is None or weight.ndim != 4 or 0 in weight.shape:
        raise CheckpointError("layer1.0.conv2 has no weight; the file is not a whole ResNet")
    width = int(weight.shape[0])
    return width, max(1, width // int(weight.shape[1]))


def _stem(canonical: Tensors) -> tuple[int, ...]:
    found = (canonical.get(f"backbone.stem.{index}.conv.weight") for index in range(3))
    return tuple(int(weight.shape[0]) for weight in found if weight is not None) or (64,)


def _stage(blocks: Mapping[tuple[int, int], _Found], stage: int) -> tuple[ResidualBlock, ...]:
    indices = [index for number, index in blocks if number == stage]
    if not indices:
        raise CheckpointError(f"layer{stage} has no weights; the file is not a whole ResNet")
    # A block missing in the middle is listed by the strict load.
    found = (blocks.get((stage, i), _Found()) for i in range(min(max(indices) + 1, MOST_BLOCKS)))
    return tuple(block.block() for block in found)


def _place(shifts: set[str]) -> ShiftPlace:
    if {"block", "blockres"} <= shifts:
        raise CheckpointError("a block is shifted both as `block` and as `blockres`")
    return "block" if "block" in shifts else "blockres" if "blockres" in shifts else "none"


def _non_local_kind(canonical: Tensors) -> NonLocal:
    embedded = any(".nl.theta." in name for name in canonical)
    return NonLocal(
        mode="embedded_gaussian" if embedded else "gaussian",
        out_bias=any(name.endswith(".nl.out.bias") for name in canonical),
    )


def _check(network: ResNet) -> None:
    places = set(network.shifts) - {"none"}
    if len(places) > 1:
        raise CheckpointError("some blocks are shifted as `block`, some as `blockres`")
    if network.non_local_blocks and not network.bottleneck:
        raise CheckpointError("non-local blocks on basic blocks: no code base builds such networks")
    if network.temporal_pool and (network.non_local_blocks or not places):
        other = "non-local blocks" if network.non_local_blocks else "no shift"
        raise CheckpointError(
            f"temporal pooling with {other}: upstream's code mixes neighboring videos there, so "
            "there is no right answer to reproduce"
        )


def mobilenet_v2(canonical: Tensors, shifted: Collection[int]) -> MobileNet:
    """Return the MobileNetV2 whose weights have canonical names; `shifted` are block numbers.

    Raises:
        CheckpointError: not a whole MobileNetV2.
    """
    blocks = tuple(
        replace(inverted_residual(canonical, number, stride), shift=number in shifted)
        for number, stride in enumerate(MOBILENET_V2_STRIDES)
    )
    if any(block.kernel != 3 or block.squeeze for block in blocks):
        raise CheckpointError("kernels or gates are not those of a MobileNetV2")
    if plain := [number for number in shifted if not blocks[number].expand]:
        raise CheckpointError(
            f"block {plain[0]} is shifted but expands nothing; no TSM MobileNetV2"
        )
    stem, last = (channels(canonical, f"backbone.{n}.conv.weight")[0] for n in ("stem", "last"))
    return MobileNet("mobilenetv2", stem, blocks, last)


def mobilenet_v3(canonical: Tensors, shifted: Collection[int] | None = None) -> MobileNet:
    """Return the MobileNetV3 whose weights have canonical names.

    `shifted` are block numbers; without it, as PaddleVideo does, all that have a shortcut.

    Raises:
        CheckpointError: not a whole MobileNetV3.
    """
    count = max(numbers(canonical, "backbone.blocks."), default=-1) + 1
    if count not in MOBILENET_V3_FORMS:
        raise CheckpointError(f"{count} blocks; MobileNetV3 has 15 or 11")
    form = MOBILENET_V3_FORMS[count]
    blocks = [_v3_block(canonical, number, form, shifted) for number in range(count)]
    looks = [(bool(block.squeeze), block.kernel) for block in blocks]
    if looks != [(n in form.gated, 5 if n in form.wide else 3) for n in range(count)]:
        raise CheckpointError(f"kernels or gates are not those of {form.name}")
    stem, last = (channels(canonical, f"backbone.{n}.conv.weight")[0] for n in ("stem", "last"))
    tail = canonical.get("backbone.tail.weight")
    return MobileNet(
        form.name,
        stem,
        tuple(blocks),
        last,
        "hardswish",
        0 if tail is None else int(tail.shape[0]),
        "backbone.tail.bias" in canonical,
    )


def _v3_block(
    canonical: Tensors, number: int, form: V3Form, shifted: Collection[int] | None
) -> InvertedResidual:
    block = inverted_residual(canonical, number, 2 if number in form.halving else 1)
    return replace(
        block,
        activation="relu" if number < form.first_hardswish else "hardswish",
        shift=block.shortcut and block.expand if shifted is None else number in shifted,
    )


def inverted_residual(canonical: Tensors, number: int, stride: int) -> InvertedResidual:
    """Return a block's widths and kernel as its weights have them, without a shift.

    Raises:
        CheckpointError: it is not whole.
    """
    block = f"backbone.blocks.{number}"
    expand, squeeze = f"{block}.expand.conv.weight", f"{block}.squeeze.reduce.weight"
    outputs, hidden = channels(canonical, f"{block}.project.conv.weight")
    channels(canonical, f"{block}.depthwise.conv.weight")
    return InvertedResidual(
        channels(canonical, expand)[1] if expand in canonical else hidden,
        hidden,
        outputs,
        stride,
        expand=expand in canonical,
        shift=False,
        kernel=int(canonical[f"{block}.depthwise.conv.weight"].shape[-1]),
        squeeze=channels(canonical, squeeze)[0] if squeeze in canonical else 0,
    )


def channels(canonical: Tensors, name: str) -> tuple[int, int]:
    """Return the output and input channels of a convolution.

    Raises:
        CheckpointError: it is missing or not a convolution.
    """
    weight = canonical.get(name)
    if weight is None or weight.ndim != 4 or 0 in weight.shape:
        found = "missing" if weight is None else f"{tuple(weight.shape)}"
        raise CheckpointError(f"{name} is {found}; the file does not hold the whole network")
    return int(weight.shape[0]), int(weight.shape[1])
