"""Checkpoints of mit-han-lab/temporal-shift-module: keys, names and side files.

Topology comes from the keys, block by block. What they cannot tell comes from `args.txt` beside
the file or from the `TSM_…` name of the file or its folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from converters.architectures.networks import (
    MobileNet,
    Network,
    ResidualBlock,
    ResNet,
)
from converters.architectures.placement import OFFICIAL_DEMO, place_shifts
from converters.checkpoints.keys import (
    BlockKey,
    Tensors,
    find_head,
    mobilenet_v2,
    resnet,
)
from converters.recipe import COMMON_DEFAULTS, PIL_RESIZE, Convention, Topology
from edge_tsm.errors import CheckpointError

CONVENTION = Convention(
    name="mit",
    shift_direction="future-past",
    sampling="uniform",
    resize=PIL_RESIZE,
    defaults={
        **COMMON_DEFAULTS,
        "shift_div": 8,
        "non_local_mode": "embedded_gaussian",
    },
)
_HEADS = ("new_fc", "fc", "classifier")
_ARGS_BYTES = 1 << 16
# [net.] before the block: temporal pool; [block.]: non-local's wrapper; [net.]: shift place block.
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_NL_NAMES = {"g.0": "g", "phi.0": "phi", "theta": "theta", "W.0": "out", "W.1": "bn"}
# Layers of an inverted residual by their index in `conv`, with and without expansion.
_EXPANDED = {0: "expand.conv", 1: "expand.bn", 3: "depthwise.conv", 4: "depthwise.bn"}
_EXPANDED |= {6: "project.conv", 7: "project.bn"}
_PLAIN = {0: "depthwise.conv", 1: "depthwise.bn", 3: "project.conv", 4: "project.bn"}
_MOBILE_SHIFT = re.compile(r"^features\.\d+\.conv\.0\.net\.")
_NAME = re.compile(r"^TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[^_]+)_")


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys (without `module.`) are named as upstream names them."""
    stems = ("base_model.", "conv1.weight", "features.0.0.weight")
    return any(name.startswith(stems) for name in keys)


def read(tensors: Tensors, outer: Mapping[str, Any], path: Path) -> tuple[Topology, Tensors]:
    """Return the topology and the weights under canonical names.

    Args:
        tensors: the state dict, without `module.`.
        outer: what else the file holds (`arch`).
        path: where it lies, for names and side files.

    Raises:
        CheckpointError: not a TSM or TSN network that can be converted.
    """
    plain = {name.removeprefix("base_model."): tensor for name, tensor in tensors.items()}
    if len(plain) != len(tensors):
        raise CheckpointError("some weights stand there twice, with and without `base_model.`")
    _refuse_others(plain)
    if is_flat(tensors):
        raise CheckpointError(
            "no `base_model.` prefix and no shifted convolution (`.net.`): this is a plain image "
            "classifier, or an online model, which the weights cannot tell; pass --online for the "
            "latter"
        )
    return _read(plain, outer, path)


def is_flat(names: Iterable[str]) -> bool:
    """Return whether keys are those of an image classifier, as an online model's are."""
    return not any(name.startswith("base_model.") or ".net." in name for name in names)


def read_flat(tensors: Tensors, outer: Mapping[str, Any], path: Path) -> tuple[Topology, Tensors]:
    """Return the topology and the weights of an online model whose file shows no shifts.

    Raises:
        CheckpointError: not a ResNet or MobileNetV2.
    """
    _refuse_others(tensors)
    topology, canonical = _read(tensors, outer, path)
    network, hints = topology.network, [*topology.hints, ("--online", {"shift_direction": "past"})]
    if isinstance(network, MobileNet):
        hints.append(("official online demo", OFFICIAL_DEMO))
    shifted = place_shifts(network)
    return replace(topology, network=shifted, hints=hints, shift_source="--online"), canonical


def _read(plain: Tensors, outer: Mapping[str, Any], path: Path) -> tuple[Topology, Tensors]:
    head, classes, rest = find_head(plain, _HEADS)
    mobile = any(name.startswith("features.") for name in rest)
    network, canonical = _mobilenet(rest) if mobile else resnet(rest, _resnet_key)
    warnings: list[str] = []
    hints = [*_outer_hints(outer), *_args_hints(path, warnings), *_name_hints(path, warnings)]
    if isinstance(outer.get("arch"), str):
        hints.append(("the checkpoint's `arch`", {"backbone": outer["arch"]}))
    return Topology(
        network, classes, f"{head}.weight", hints, CONVENTION, tuple(warnings)
    ), canonical


def _refuse_others(names: Mapping[str, Tensor]) -> None:
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


def _resnet_key(name: str, tensor: Tensor) -> BlockKey:
    """Take one key of a ResNet apart."""
    match = _BLOCK.match(name)
    if not match:
        return BlockKey(_layer(name).replace("conv1.", "stem.0.", 1), tensor)
    stage, pooled, index, _, net, rest = match.groups()
    if pooled and stage != "2":
        raise CheckpointError(f"layer{stage}.net: temporal pooling is known before layer2 only")
    shift = "block" if net else "blockres" if rest.startswith("conv1.net.") else "none"
    if rest.startswith("nl."):
        part, _, kind = rest[3:].rpartition(".")
        flat = tensor[..., 0] if tensor.ndim == 5 and tensor.shape[-1] == 1 else tensor
        rest, tensor = f"nl.{_NL_NAMES.get(part, part)}.{kind}", flat
    else:
        rest = _layer(rest.replace("conv1.net.", "conv1.", 1))
    return BlockKey(rest, tensor, int(stage), int(index), shift, pooled=bool(pooled))


def _layer(name: str) -> str:
    """Return torchvision's `conv1.weight`, `bn1.bias`, `downsample.0.weight` as canonical names."""
    name = re.sub(r"^downsample\.0\.", "downsample.conv.", name)
    name = re.sub(r"^downsample\.1\.", "downsample.bn.", name)
    name = re.sub(r"^bn(\d)\.", r"conv\1.bn.", name)
    return re.sub(r"^(conv\d|stem\.0)\.(weight|bias)$", r"\1.conv.\2", name)


def _mobilenet(names: Tensors) -> tuple[MobileNet, Tensors]:
    """Give the layers of inverted residuals their names; note which are shifted."""
    expands = {name.split(".")[1] for name in names if ".conv.6." in name}
    canonical = {_mobile_name(name, expands): tensor for name, tensor in names.items()}
    if len(canonical) != len(names):
        raise CheckpointError("some weights stand there twice, with and without `.net.`")
    shifted = {int(name.split(".")[1]) - 1 for name in names if _MOBILE_SHIFT.match(name)}
    return mobilenet_v2(canonical, shifted), canonical


def _mobile_name(name: str, expands: Collection[str]) -> str:
    if name.startswith("head."):
        return name
    outer = re.match(r"^features\.(0|18)\.([01])\.(\w+)$", name)
    if outer:
        part = "stem" if outer[1] == "0" else "last"
        return f"backbone.{part}.{'conv' if outer[2] == '0' else 'bn'}.{outer[3]}"
    inner = re.match(r"^features\.(\d+)\.conv\.(\d)\.(?:net\.)?(\w+)$", name)
    if not inner:
        return f"backbone.{name}"
    layers = _EXPANDED if inner[1] in expands else _PLAIN
    layer = layers.get(int(inner[2]), inner[2])
    return f"backbone.blocks.{int(inner[1]) - 1}.{layer}.{inner[3]}"


# --- what stands beside the weights ------------------------------------------------------------


def _outer_hints(outer: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Take what a training of this project writes beside the weights, and upstream's does not."""
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
    }
    hints = {name: outer.get(key) for name, key in names.items()}
    labels = outer.get("labels")
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        hints["labels"] = labels
    return [("the checkpoint", hints)]


def _args_hints(path: Path, warnings: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Read `args.txt` beside the checkpoint (`Namespace(name=value, …)`) without evaluating it."""
    side = path.with_name("args.txt")
    if not side.is_file():
        return []
    try:
        text = side.read_bytes()[:_ARGS_BYTES].decode("utf-8-sig")
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        call = None
    keywords = getattr(call, "keywords", [])
    if not keywords:
        warnings.append(f"{side} is not what main.py writes and was not used")
    args = {k.arg: _literal(k.value) for k in keywords if k.arg}
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "consensus": "consensus_type",
        "dataset": "dataset",
        "backbone": "arch",
        "dense": "dense_sample",
        "temporal pool": "temporal_pool",
    }
    hints = {name: args[key] for name, key in names.items() if args.get(key) is not None}
    if isinstance(args.get("shift"), bool):
        hints["shift"] = args.get("shift_place") if args["shift"] else "none"
    return [("args.txt", hints)]


def _literal(node: ast.expr) -> Any:
    """Return a literal's value; None for anything else (a device, infinity)."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _name_hints(path: Path, warnings: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Read a `TSM_…` name: of the file, else of its folder; no other part of the path counts."""
    for name in (path.name, path.absolute().parent.name):
        match = _NAME.match(name)
        if match:
            which = "file" if name == path.name else "folder"
            return [(f"name of the {which}", _tokens(name, match))]
        if name.startswith("TSM_"):
            warnings.append(f"the name {name} is not one that main.py gives and was not used")
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


# --- writing upstream's format -----------------------------------------------------------------


def refuse_strangers(network: Network) -> None:
    """Refuse a network that upstream's code cannot build.

    Raises:
        CheckpointError: it names the network.
    """
    known = isinstance(network, ResNet) and not network.tweaked
    known = known or (isinstance(network, MobileNet) and network.name == "mobilenetv2")
    if not known:
        raise CheckpointError(
            f"upstream's format holds ResNet and MobileNetV2, and no {network.name}"
        )


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
    if isinstance(network, MobileNet):
        return f"base_model.{_upstream_mobile(network, name)}"
    refuse_strangers(network)
    assert isinstance(network, ResNet)
    match = re.match(r"^layer(\d)\.(\d+)\.(.+)$", name)
    if not match:
        return f"base_model.{_torchvision(name).replace('stem.0', 'conv1')}"
    stage, index, rest = int(match[1]), int(match[2]), match[3]
    pool = "net." if network.temporal_pool and stage == 2 else ""
    block = network.stages[stage - 1][index]
    return f"base_model.layer{stage}.{pool}{index}.{_upstream_part(block, rest)}"


def _torchvision(name: str) -> str:
    name = name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")
    name = re.sub(r"(?:conv(\d)|stem\.0)\.bn\.", lambda m: f"bn{m[1] or 1}.", name)
    return re.sub(r"(conv\d|stem\.0)\.conv\.", r"\1.", name)


def _upstream_part(block: ResidualBlock, rest: str) -> str:
    """Return the name within a block with the wrappers that shift and non-local put there."""
    if rest.startswith("nl."):
        part, _, kind = rest[3:].rpartition(".")
        wrapped = next(theirs for theirs, ours in _NL_NAMES.items() if ours == part)
        return f"nl.{wrapped}.{kind}"
    rest = _torchvision(rest)
    if block.shift == "blockres":
        rest = re.sub(r"^conv1\.", "conv1.net.", rest)
    wrapper = ("block." if block.non_local else "") + ("net." if block.shift == "block" else "")
    return wrapper + rest


def _upstream_mobile(network: MobileNet, name: str) -> str:
    part, _, rest = name.partition(".")
    if part != "blocks":
        layer, _, kind = rest.partition(".")
        return f"features.{0 if part == 'stem' else 18}.{0 if layer == 'conv' else 1}.{kind}"
    index, _, rest = rest.partition(".")
    layer, _, kind = rest.rpartition(".")
    block = network.blocks[int(index)]
    names = {ours: i for i, ours in (_EXPANDED if block.expand else _PLAIN).items()}
    net = ".net" if block.shift and layer == "expand.conv" else ""
    return f"features.{int(index) + 1}.conv.{names[layer]}{net}.{kind}"
