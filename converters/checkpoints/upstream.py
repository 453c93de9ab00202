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

from converters.architectures.mobilenet import UPSTREAM_EXPANDED, UPSTREAM_PLAIN, MobileNet
from converters.architectures.resnet import UPSTREAM_NON_LOCAL
from converters.checkpoints.keys import (
    BlockKey,
    Reader,
    Tensors,
    find_head,
    literal,
    mobilenet_v2,
    refuse_duplicates,
    resnet,
)
from converters.recipe import COMMON_DEFAULTS, PIL_RESIZE, Convention, Topology
from edge_tsm.bundle.data_sets import SORTED_UPSTREAM
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
    sorts=SORTED_UPSTREAM,
)
OFFICIAL_DEMO = {"color": "bgr", "fps": 15.0, "horizon": 12}
"""What online_demo/main.py does: OpenCV's frames as they come, every second one of a 30 fps
camera, the sum of the last twelve logits."""
_HEADS = ("new_fc", "fc", "classifier")
_ARGS_BYTES = 1 << 16
# Upstream always shows 224; trainings of this project, and forks with other sides, write one.
_SIZE_KEYS = ("input_size", "crop_size", "image_size", "img_size")
# [net.] before the block: temporal pool; [block.]: non-local's wrapper; [net.]: shift place block.
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_MOBILE_SHIFT = re.compile(r"^features\.\d+\.conv\.0\.net\.")
_NAME = re.compile(r"^TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[^_]+)_")


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys (without `module.`) are named as upstream names them."""
    stems = ("base_model.", "conv1.weight", "features.0.0.weight")
    return any(name.startswith(stems) for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `arch`, and facts where this project trained."""
    plain = {name.removeprefix("base_model."): tensor for name, tensor in tensors.items()}
    refuse_duplicates(tensors, plain, "`base_model.`")
    _refuse_others(plain)
    shows_shifts = any(name.startswith("base_model.") or ".net." in name for name in tensors)
    if not shows_shifts and not online:
        raise CheckpointError(
            "no `base_model.` prefix and no shifted convolution (`.net.`): this is a plain image "
            "classifier, or an online model, which the weights cannot tell; pass --online for the "
            "latter"
        )
    topology, canonical = _read(plain, outer, path)
    return topology if shows_shifts else _online(topology, plain), canonical


def _online(topology: Topology, names: Iterable[str]) -> Topology:
    """Return the topology of an online model, whose file does not show the shifts."""
    hints = [*topology.hints, ("--online", {"shift_direction": "past"})]
    if _is_mobile(names):
        hints.append(("official online demo", OFFICIAL_DEMO))
    network = topology.network.with_default_shifts()
    return replace(topology, network=network, hints=hints, shift_source="--online")


def _is_mobile(names: Iterable[str]) -> bool:
    return any(name.startswith("features.") for name in names)


def _read(plain: Tensors, outer: Mapping[str, Any], path: Path) -> tuple[Topology, Tensors]:
    head, classes, rest = find_head(plain, _HEADS)
    network, canonical = _mobilenet(rest) if _is_mobile(rest) else resnet(rest, _resnet_key)
    warnings: list[str] = []
    hints = [*_outer_hints(outer), *_args_hints(path, warnings), *_name_hints(path, warnings)]
    if isinstance(outer.get("arch"), str):
        hints.append(("the checkpoint's `arch`", {"backbone": outer["arch"]}))
    return Topology(
        network, classes, f"{head}.weight", hints, CONVENTION, tuple(warnings)
    ), canonical


def _refuse_others(names: Mapping[str, Tensor]) -> None:
    """Refuse networks that are known, but not converted."""
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
        rest, tensor = f"nl.{UPSTREAM_NON_LOCAL.get(part, part)}.{kind}", flat
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
    refuse_duplicates(names, canonical, "`.net.`")
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
    layers = UPSTREAM_EXPANDED if inner[1] in expands else UPSTREAM_PLAIN
    layer = layers.get(int(inner[2]), inner[2])
    return f"backbone.blocks.{int(inner[1]) - 1}.{layer}.{inner[3]}"


# --- what lies beside the weights --------------------------------------------------------------


def _outer_hints(outer: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Take what a training of this project writes beside the weights, and upstream's does not."""
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "size": "input_size",
        "activation": "activation",
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
    args = {k.arg: literal(k.value) for k in keywords if k.arg}
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "consensus": "consensus_type",
        "dataset": "dataset",
        "backbone": "arch",
        "dense": "dense_sample",
        "temporal pool": "temporal_pool",
        "size": next((key for key in _SIZE_KEYS if args.get(key) is not None), ""),
        "full_res": "full_res",
        "activation": "activation",
    }
    hints = {name: args[key] for name, key in names.items() if args.get(key) is not None}
    # Upstream's own loss is `nll`, a softmax; forks with several classes a clip name another.
    if "activation" not in hints and str(args.get("loss_type", "")).lower().startswith("bce"):
        hints["activation"] = "sigmoid"
    if isinstance(args.get("shift"), bool):
        hints["shift"] = args.get("shift_place") if args["shift"] else "none"
    return [("args.txt", hints)]


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


READER = Reader("mit", recognizes, read)
