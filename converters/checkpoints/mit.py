"""Checkpoints of mit-han-lab/temporal-shift-module: keys, names and side files.

Topology comes from the keys, block by block. What they cannot tell comes from `args.txt` beside
the file or from the `TSM_…` name of the file or its folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from converters.models.topologies import MOBILENET_STRIDES, RESNETS
from converters.recipe import (
    Fact,
    InvertedResidual,
    MobileNetV2,
    Network,
    ResidualBlock,
    ResNet,
    ShiftPlace,
    Topology,
)
from edge_tsm.errors import CheckpointError

Tensors = dict[str, Tensor]

DEFAULTS = {"segments": 8, "shift_div": 8, "consensus": "avg", "color": "rgb"}
_HEADS = ("new_fc", "fc", "classifier")
_ARGS_BYTES = 1 << 16
# Inside a block: [block.]  what non-local wraps; [net.]  what shift place "block" wraps.
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_NL_NAMES = {"g.0": "g", "phi.0": "phi", "theta": "theta", "W.0": "out", "W.1": "bn"}
_NAME = re.compile(r"^TSM_(?P<dataset>[^_]+)_(?P<modality>RGB|Flow|RGBDiff)_(?P<arch>[^_]+)_")


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys (without `module.`) are named as upstream names them."""
    names = set(keys)
    stems = ("base_model.", "conv1.weight", "features.0.0.weight")
    return any(name.startswith(stems) for name in names)


def read(
    tensors: Mapping[str, Tensor], outer: Mapping[str, Any], path: Path
) -> tuple[Topology, Tensors]:
    """Return the topology and the weights under canonical names.

    Args:
        tensors: the state dict, without `module.`.
        outer: what else the file holds (`arch`).
        path: where it lies, for names and side files.

    Raises:
        CheckpointError: not a TSM or TSN network that can be converted.
    """
    names = {name.removeprefix("base_model."): name for name in tensors}
    plain = {name: tensors[full] for name, full in names.items()}
    _refuse_others(plain, wrapped=any(n.startswith("base_model.") for n in tensors))
    mobile = any(name.startswith("features.") for name in plain)
    network, place, renamed = _mobilenet(plain) if mobile else _resnet(plain)
    head, classes = _head(renamed)
    for kind in ("weight", "bias"):
        if f"{head}.{kind}" in renamed:
            renamed[f"head.{kind}"] = renamed.pop(f"{head}.{kind}")
    canonical = {
        name if name.startswith("head.") else f"backbone.{name}": tensor
        for name, tensor in renamed.items()
    }
    if len(canonical) != len(tensors):
        raise CheckpointError("some weights stand there twice, with and without a wrapper's name")
    facts = _facts(network, place, head, classes)
    hints = [*_args_hints(path), *_name_hints(path)]
    if isinstance(outer.get("arch"), str):
        hints.append(("the checkpoint's `arch`", {"backbone": outer["arch"]}))
    return Topology(network, classes, place, facts, hints, DEFAULTS), canonical


def upstream_names(network: Network, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return canonical weights under the names upstream's own code loads (with `module.`)."""
    return {
        f"module.{_upstream(network, name)}": (
            tensor[..., None] if ".nl." in name and tensor.ndim == 4 else tensor
        )
        for name, tensor in tensors.items()
    }


def _upstream(network: Network, name: str) -> str:
    if name.startswith("head."):
        return name.replace("head", "new_fc")
    name = name.removeprefix("backbone.")
    if isinstance(network, MobileNetV2):
        number = name.split(".")[1]
        shifted = {str(i) for i, block in enumerate(network.blocks, 1) if block.shift}
        if number in shifted:
            name = name.replace(".conv.0.", ".conv.0.net.", 1)
        return f"base_model.{name}"
    match = re.match(r"^layer(\d)\.(\d+)\.(.+)$", name)
    if not match:
        return f"base_model.{name}"
    stage, index, rest = int(match[1]), int(match[2]), match[3]
    block = network.stages[stage - 1][index]
    pool = "net." if network.temporal_pool and stage == 2 else ""
    return f"base_model.layer{stage}.{pool}{index}.{_upstream_part(block, rest)}"


def _upstream_part(block: ResidualBlock, rest: str) -> str:
    """Return the name within a block with the wrappers that shift and non-local put there."""
    if rest.startswith("nl."):
        part, _, kind = rest[3:].rpartition(".")
        wrapped = next(theirs for theirs, ours in _NL_NAMES.items() if ours == part)
        return f"nl.{wrapped}.{kind}"
    if block.shift == "blockres":
        rest = re.sub(r"^conv1\.", "conv1.net.", rest)
    wrapper = ("block." if block.non_local else "") + ("net." if block.shift == "block" else "")
    return wrapper + rest


def _refuse_others(names: Mapping[str, Tensor], *, wrapped: bool) -> None:
    """Say what it is when it is known, but not something to convert."""
    if any(name.startswith("conv1_7x7_s2") for name in names):
        raise CheckpointError("this is a BNInception network, which edge-tsm does not convert")
    for stem in ("conv1.weight", "features.0.0.weight"):
        shape = tuple(names[stem].shape) if stem in names else ()
        if len(shape) == 4 and shape[1] != 3:
            raise CheckpointError(
                f"{stem} takes {shape[1]} channels: an optical-flow (or RGBDiff) network; "
                "edge-tsm converts RGB ones"
            )
    shifted = any(".net." in name for name in names)
    if not wrapped and not shifted:
        raise CheckpointError(
            "no `base_model.` prefix and no shifted convolution (`.net.`): this is a plain image "
            "classifier (or a one-way online model), not a TSM video network"
        )


def _resnet(names: Mapping[str, Tensor]) -> tuple[ResNet, ShiftPlace, Tensors]:
    """Read stages, shift positions and non-local blocks from the keys."""
    blocks: dict[tuple[int, int], set[str]] = {}
    renamed: Tensors = {}
    for name, tensor in names.items():
        match = _BLOCK.match(name)
        if not match:
            renamed[name] = tensor
            continue
        stage, pooled, index, _, net, rest = match.groups()
        marks = blocks.setdefault((int(stage), int(index)), set())
        marks.update(_marks(bool(pooled), int(stage), bool(net), rest))
        rest, tensor = _unwrap(rest, tensor)
        renamed[f"layer{stage}.{index}.{rest}"] = tensor
    place = _shift_place(set().union(*blocks.values()))
    network = ResNet(
        name="",
        bottleneck=any("conv3" in marks for marks in blocks.values()),
        width=_width(renamed),
        stages=tuple(_stage(blocks, stage) for stage in range(1, 5)),
        temporal_pool=any("pooled" in marks for marks in blocks.values()),
    )
    _check_resnet(network, place)
    return _named(network), place, renamed


def _marks(pooled: bool, stage: int, net: bool, rest: str) -> set[str]:
    """Return what one key reveals about its block."""
    marks = {"conv3"} if rest.startswith("conv3.") else set()
    if pooled and stage == 2:
        marks.add("pooled")
    elif pooled:
        raise CheckpointError(f"layer{stage}.net: temporal pooling is known before layer2 only")
    if net:
        marks.add("block")
    if rest.startswith("conv1.net."):
        marks.add("blockres")
    if rest.startswith("nl."):
        marks.add("nl")
    return marks


def _unwrap(rest: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Remove the shift's wrapper; turn 1x1x1 3-D convolutions of non-local blocks into 1x1 2-D."""
    if rest.startswith("nl."):
        part, _, kind = rest[3:].rpartition(".")
        squeezed = tensor[..., 0] if tensor.ndim == 5 and tensor.shape[-1] == 1 else tensor
        return f"nl.{_NL_NAMES.get(part, part)}.{kind}", squeezed
    return rest.replace("conv1.net.", "conv1.", 1), tensor


def _stage(blocks: Mapping[tuple[int, int], set[str]], stage: int) -> tuple[ResidualBlock, ...]:
    indices = [index for number, index in blocks if number == stage]
    if not indices:
        raise CheckpointError(f"layer{stage} has no weights; the file is not a whole ResNet")
    found = []
    # A block missing in the middle is listed by the strict load; a number beyond any ResNet is not.
    for index in range(min(max(indices) + 1, 64)):
        marks = blocks.get((stage, index), set())
        shift: ShiftPlace = "none"
        if "block" in marks:
            shift = "block"
        elif "blockres" in marks:
            shift = "blockres"
        found.append(ResidualBlock(shift, "nl" in marks))
    return tuple(found)


def _shift_place(marks: set[str]) -> ShiftPlace:
    if {"block", "blockres"} <= marks:
        raise CheckpointError("some blocks are shifted as `block`, some as `blockres`")
    return "block" if "block" in marks else "blockres" if "blockres" in marks else "none"


def _width(names: Mapping[str, Tensor]) -> int:
    weight = names.get("layer1.0.conv2.weight")
    if weight is None or weight.ndim != 4 or 0 in weight.shape:
        raise CheckpointError("layer1.0.conv2.weight is missing; the file is not a whole ResNet")
    return int(weight.shape[0])


def _check_resnet(network: ResNet, place: ShiftPlace) -> None:
    non_local = any(block.non_local for stage in network.stages for block in stage)
    if non_local and not network.bottleneck:
        raise CheckpointError("non-local blocks on basic blocks: upstream builds no such network")
    if network.temporal_pool and (non_local or place == "none"):
        other = "non-local blocks" if non_local else "no shift"
        raise CheckpointError(
            f"temporal pooling with {other}: upstream's code mixes neighbouring videos there, so "
            "there is no right answer to reproduce"
        )


def _named(network: ResNet) -> ResNet:
    counts = tuple(map(len, network.stages))
    known = {shape: name for name, shape in RESNETS.items()}
    name = known.get((counts, network.bottleneck), f"resnet{list(counts)}")
    if network.width != 64:
        name = f"wide_{name}_{network.width // 64}"
    return ResNet(name, network.bottleneck, network.width, network.stages, network.temporal_pool)


def _mobilenet(names: Mapping[str, Tensor]) -> tuple[MobileNetV2, ShiftPlace, Tensors]:
    """Read channels and shift positions of the 17 blocks from the keys."""
    renamed = {name.replace(".conv.0.net.", ".conv.0.", 1): t for name, t in names.items()}
    shifted = {name.split(".")[1] for name in names if ".conv.0.net." in name}
    blocks = tuple(
        _inverted(renamed, number, stride, shift=str(number) in shifted)
        for number, stride in enumerate(MOBILENET_STRIDES, 1)
    )
    network = MobileNetV2(
        name="mobilenetv2",
        stem=_channels(renamed, "features.0.0.weight")[0],
        blocks=blocks,
        features=_channels(renamed, "features.18.0.weight")[0],
    )
    return network, "blockres" if shifted else "none", renamed


def _inverted(
    names: Mapping[str, Tensor], number: int, stride: int, *, shift: bool
) -> InvertedResidual:
    stem = f"features.{number}.conv"
    expand = f"{stem}.6.weight" in names
    outputs, hidden = _channels(names, f"{stem}.{6 if expand else 3}.weight")
    inputs = _channels(names, f"{stem}.0.weight")[1] if expand else hidden
    if shift and not expand:
        raise CheckpointError(
            f"{stem}.0 is shifted but expands nothing; not upstream's MobileNetV2"
        )
    return InvertedResidual(inputs, hidden, outputs, stride, expand, shift)


def _channels(names: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    weight = names.get(name)
    if weight is None or weight.ndim != 4 or 0 in weight.shape:
        found = "missing" if weight is None else f"{tuple(weight.shape)}"
        raise CheckpointError(f"{name} is {found}; the file is not a whole upstream MobileNetV2")
    return int(weight.shape[0]), int(weight.shape[1])


def _head(names: Mapping[str, Tensor]) -> tuple[str, int]:
    for head in _HEADS:
        weight = names.get(f"{head}.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[0] > 0:
            return head, int(weight.shape[0])
    raise CheckpointError(f"no classifier: none of {', '.join(_HEADS)} has a 2-D weight")


def _facts(network: Network, place: ShiftPlace, head: str, classes: int) -> dict[str, Fact]:
    if isinstance(network, ResNet):
        shifts = [block.shift != "none" for stage in network.stages for block in stage]
        non_local = sum(block.non_local for stage in network.stages for block in stage)
    else:
        shifts, non_local = [block.shift for block in network.blocks], 0
    weights = "weights"
    return {
        "backbone": Fact(network.name, weights),
        "shift": Fact(place, weights),
        "shifted blocks": Fact(f"{sum(shifts)} of {len(shifts)}", weights),
        "non-local": Fact(non_local, weights),
        "temporal pool": Fact(network.temporal_pool, weights),
        "classes": Fact(classes, f"{head}.weight"),
    }


def _args_hints(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read `args.txt` beside the checkpoint (`Namespace(name=value, …)`) without evaluating it."""
    side = path.with_name("args.txt")
    if not side.is_file() or side.stat().st_size > _ARGS_BYTES:
        return []
    try:
        call = ast.parse(side.read_text(encoding="utf-8"), mode="eval").body
        args = {k.arg: ast.literal_eval(k.value) for k in getattr(call, "keywords", []) if k.arg}
    except (SyntaxError, ValueError, UnicodeDecodeError, RecursionError, MemoryError):
        return []
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "consensus": "consensus_type",
        "dataset": "dataset",
        "backbone": "arch",
        "dense": "dense_sample",
        "temporal pool": "temporal_pool",
    }
    hints = {name: args[key] for name, key in names.items() if key in args}
    if isinstance(args.get("shift"), bool):
        hints["shift"] = args.get("shift_place") if args["shift"] else "none"
    return [("args.txt", hints)]


def _name_hints(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read a `TSM_…` name: of the file, else of its folder; no other part of the path counts."""
    for name in (path.name, path.absolute().parent.name):
        match = _NAME.match(name)
        if match:
            which = "file" if name == path.name else "folder"
            return [(f"name of the {which}", _tokens(name, match))]
    return []


def _tokens(name: str, match: re.Match[str]) -> dict[str, Any]:
    rest = "_" + name[match.end() :] + "_"
    hints: dict[str, Any] = {"dataset": match["dataset"], "backbone": match["arch"]}
    shift = re.search(r"_shift(\d+)_(blockres|block)_", rest)
    hints["shift"] = shift[2] if shift else "none"
    if shift:
        hints["shift_div"] = int(shift[1])
    consensus = re.search(r"_(avg|identity)_segment(\d+)[_.]", rest)
    if consensus:
        hints["consensus"], hints["segments"] = consensus[1], int(consensus[2])
    hints["dense"] = "_dense_" in rest or "_dense." in rest
    hints["temporal pool"] = "_tpool_" in rest
    return hints
