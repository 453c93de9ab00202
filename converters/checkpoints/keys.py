"""What readers share: what a reader is, collecting blocks, finding the classifier, literals."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from converters.architectures.base import ShiftPlace
from converters.architectures.mobilenet import MOBILENET_V2_STRIDES, InvertedResidual, MobileNet
from converters.architectures.non_local import NonLocal
from converters.architectures.resnet import ResidualBlock, ResNet
from converters.recipe import Topology
from edge_tsm.errors import CheckpointError

Tensors = dict[str, Tensor]
MOST_BLOCKS = 64  # per stage; a number beyond that is no ResNet's


class Read(Protocol):
    """How the checkpoints of a code base are read."""

    def __call__(
        self, tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
    ) -> tuple[Topology, Tensors]:
        """Return the topology and the weights under canonical names.

        Args:
            tensors: the state dict, without `module.`.
            outer: what else the file holds.
            path: where it lies, for names and side files.
            online: what shows no shifts is an online model, not an image classifier.

        Raises:
            CheckpointError: not a network that can be converted.
        """
        ...


@dataclass(frozen=True)
class Reader:
    """The checkpoints of a code base; `name` is what the command line calls it."""

    name: str
    recognizes: Callable[[Iterable[str]], bool]  # by the keys of a state dict
    read: Read


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


def resnet(
    names: Mapping[str, Tensor],
    take_apart: Callable[[str, Tensor], BlockKey],
    *,
    tweaked: bool = False,
) -> tuple[ResNet, Tensors]:
    """Return the ResNet that keys describe, and its weights under canonical names.

    Raises:
        CheckpointError: not a whole ResNet, or one that no code base builds.
    """
    blocks: dict[tuple[int, int], _Found] = {}
    canonical: Tensors = {}
    pooled = False
    for name, tensor in names.items():
        if name.startswith("head."):
            canonical[name] = tensor
            continue
        key = take_apart(name, tensor)
        place = f"layer{key.stage}.{key.index}." if key.stage else ""
        canonical[f"backbone.{place}{key.rest}"] = key.tensor
        if key.stage:
            found = blocks.setdefault((key.stage, key.index), _Found())
            found.shifts.add(key.shift)
            found.non_local |= key.rest.startswith("nl.")
            pooled |= key.pooled
    refuse_duplicates(names, canonical, "a wrapper's name")
    non_local = any(found.non_local for found in blocks.values())
    network = ResNet(
        bottleneck=any(".conv3." in name for name in canonical),
        width=_width(canonical),
        stages=tuple(_stage(blocks, stage) for stage in range(1, 5)),
        temporal_pool=pooled,
        non_local=_non_local_kind(canonical) if non_local else NonLocal(),
        tweaked=tweaked,
    )
    _check(network)
    return network, canonical


def find_head(names: Mapping[str, Tensor], heads: Sequence[str]) -> tuple[str, int, Tensors]:
    """Return the classifier's name, the class count, and all tensors with it named `head`.

    The classifier is returned under its canonical name `head.*`; nothing else is renamed.

    Raises:
        CheckpointError: there is no classifier.
    """
    for head in heads:
        weight = names.get(f"{head}.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[0] > 0:
            own = {f"{head}.{kind}": f"head.{kind}" for kind in ("weight", "bias")}
            rest = {own.get(name, name): tensor for name, tensor in names.items()}
            return head, int(weight.shape[0]), rest
    raise CheckpointError(f"no classifier: none of {', '.join(heads)} has a 2-D weight")


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


def _width(canonical: Tensors) -> int:
    weight = canonical.get("backbone.layer1.0.conv2.conv.weight")
    if weight is None or weight.ndim != 4 or 0 in weight.shape:
        raise CheckpointError("layer1.0.conv2 has no weight; the file is not a whole ResNet")
    return int(weight.shape[0])


def _stage(blocks: Mapping[tuple[int, int], _Found], stage: int) -> tuple[ResidualBlock, ...]:
    indices = [index for number, index in blocks if number == stage]
    if not indices:
        raise CheckpointError(f"layer{stage} has no weights; the file is not a whole ResNet")
    # A block missing in the middle is listed by the strict load.
    found = (blocks.get((stage, i), _Found()) for i in range(min(max(indices) + 1, MOST_BLOCKS)))
    return tuple(ResidualBlock(_place(block.shifts), block.non_local) for block in found)


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
        _inverted(canonical, number, stride, shift=number in shifted)
        for number, stride in enumerate(MOBILENET_V2_STRIDES)
    )
    stem, last = (channels(canonical, f"backbone.{n}.conv.weight")[0] for n in ("stem", "last"))
    return MobileNet("mobilenetv2", stem, blocks, last)


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


def _inverted(canonical: Tensors, number: int, stride: int, *, shift: bool) -> InvertedResidual:
    block = f"backbone.blocks.{number}"
    expand = f"{block}.expand.conv.weight" in canonical
    outputs, hidden = channels(canonical, f"{block}.project.conv.weight")
    inputs = channels(canonical, f"{block}.expand.conv.weight")[1] if expand else hidden
    if shift and not expand:
        raise CheckpointError(f"{block} is shifted but expands nothing; not a TSM MobileNetV2")
    return InvertedResidual(inputs, hidden, outputs, stride, expand, shift)
