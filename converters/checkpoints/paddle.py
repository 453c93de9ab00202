"""Checkpoints of PaddlePaddle/PaddleVideo: TSM, PP-TSM and PP-TSMv2.

Its shift runs the other way round and moves 1/T of the channels, T being the number of segments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from converters.architectures import Network
from converters.architectures.lcnet import DepthwiseBlock, LcNet
from converters.architectures.mobilenet import (
    MOBILENET_V2_FIRSTS,
    MOBILENET_V2_STRIDES,
    MobileNet,
)
from converters.architectures.resnet import ResNet
from converters.checkpoints import paddle_slowfast
from converters.checkpoints.fuse import add_branches, fold_norm
from converters.checkpoints.keys import (
    BlockKey,
    Reader,
    Tensors,
    channels,
    find_head,
    mobilenet_v2,
    mobilenet_v3,
    numbers,
    resnet,
)
from converters.recipe import COMMON_DEFAULTS, PIL_RESIZE, Convention, Topology
from edge_tsm.errors import CheckpointError

_Find = Callable[[Tensors], tuple[Network, Tensors]]
_DEFAULTS = {**COMMON_DEFAULTS, "shift_div": None}
_SQUASHED = replace(PIL_RESIZE, aspect="4:3")
TSM = Convention("PaddleVideo TSM", "past-future", "paddle_left", PIL_RESIZE, _DEFAULTS)
PP_TSM = Convention("PaddleVideo PP-TSM", "past-future", "paddle_center", _SQUASHED, _DEFAULTS)

# Dropout(0.2, mode="downscale_in_infer") multiplies by 0.8 when it does not drop.
_DOWNSCALE = 0.8
_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}
_RESIDUAL = re.compile(r"^(?:res([2-5])([a-z])(\d*)|bb_([0-3])_(\d+))\.(conv[012]|short)\.(.+)$")
_V2_BLOCK = re.compile(r"^conv([2-8])\.(?:_first_block|conv\d_(\d+))\.(_\w+?_conv)\.(.+)$")
_V2_LAYERS = {"_expand_conv": "expand", "_bottleneck_conv": "depthwise", "_linear_conv": "project"}
_V3_LAYERS = {"expand_conv": "expand", "bottleneck_conv": "depthwise", "linear_conv": "project"}


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as PaddleVideo names them."""
    return any(name.endswith("._mean") for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; file names and what the file holds besides weights say little."""
    # Of a distillation the student is taken: `Student.0.…`, or `0.…` where it was saved alone.
    student = {
        re.sub(r"^(Student\.)?0\.", "", name): tensor
        for name, tensor in tensors.items()
        if re.match(r"^(Student\.|0\.)", name)
    }
    tensors = student or tensors
    if any(name.startswith("backbone.s1.pathway0_stem.") for name in tensors):
        return paddle_slowfast.read(tensors, path)
    plain = {_plain_name(name): tensor for name, tensor in tensors.items()}
    head, classes, rest = find_head(_transposed(plain), ("head.fc", "out", "fc"))
    find_network, convention = _kind(rest)
    network, canonical = find_network(rest)
    return Topology(network, classes, f"{head}.weight", _hints(canonical), convention), canonical


def _plain_name(name: str) -> str:
    """Return a name without `backbone.`, statistics named as torch names them."""
    stem, _, kind = name.removeprefix("backbone.").rpartition(".")
    return f"{stem}.{_STATISTICS.get(kind, kind)}"


def _transposed(names: Tensors) -> Tensors:
    """Paddle's linear layers hold [inputs, outputs]."""
    return {name: t.transpose(0, 1) if t.ndim == 2 else t for name, t in names.items()}


def _kind(names: Tensors) -> tuple[_Find, Convention]:
    for start, kind in _KINDS.items():
        if any(name.startswith(start) for name in names):
            return kind
    raise CheckpointError("no TSM network of PaddleVideo has these names")


def _hints(canonical: Tensors) -> list[tuple[str, dict[str, Any]]]:
    """The temporal attention's square weight tells the number of segments."""
    weight = canonical.get("backbone.attention.fc.weight")
    if weight is None:
        return []
    return [("size of the temporal attention", {"segments": int(weight.shape[0])})]


def _conv_bn(rest: str) -> str:
    return rest.replace("_batch_norm.", "bn.", 1).replace("_conv.", "conv.", 1)


# --- ResNet ------------------------------------------------------------------------------------


def _resnet(names: Tensors) -> tuple[ResNet, Tensors]:
    return resnet(names, _resnet_key)


def _tweaked(names: Tensors) -> tuple[ResNet, Tensors]:
    network, canonical = resnet(names, _resnet_key, activation="leaky_relu")
    if not network.bottleneck:
        raise CheckpointError("PP-TSM with basic blocks (ResNet-18, 34) is not converted")
    return network, canonical


def _resnet_key(name: str, tensor: Tensor) -> BlockKey:
    match = _RESIDUAL.match(name)
    if match is None:
        stem = re.sub(r"^conv1_(\d)\.", lambda m: f"stem.{int(m[1]) - 1}.", name)
        return BlockKey(_conv_bn(re.sub(r"^conv\.", "stem.0.", stem)), tensor)
    letter_stage, letter, number, stage, index, layer, rest = match.groups()
    if letter_stage:
        stage, index = int(letter_stage) - 1, int(number or ord(letter) - ord("a"))
    else:
        stage, index = int(stage) + 1, int(index)
    layer = "downsample" if layer == "short" else f"conv{int(layer[-1]) + 1}"
    return BlockKey(f"{layer}.{_conv_bn(rest)}", tensor, stage, index, "blockres")


# --- MobileNet ---------------------------------------------------------------------------------


def _mobilenet_v2(names: Tensors) -> tuple[MobileNet, Tensors]:
    canonical: Tensors = {}
    for name, tensor in names.items():
        match = _V2_BLOCK.match(name)
        if match is None:
            outer = re.sub(r"^conv1\.", "stem.", re.sub(r"^conv9\.", "last.", name))
            canonical[name if name.startswith("head.") else f"backbone.{_conv_bn(outer)}"] = tensor
            continue
        number = MOBILENET_V2_FIRSTS[int(match[1]) - 2] + int(match[2] or 1) - 1
        layer = _V2_LAYERS.get(match[3], match[3])
        canonical[f"backbone.blocks.{number}.{layer}.{_conv_bn(match[4])}"] = tensor
    shifted = set(range(len(MOBILENET_V2_STRIDES))) - set(MOBILENET_V2_FIRSTS)
    return mobilenet_v2(canonical, shifted), canonical


def _mobilenet_v3(names: Tensors) -> tuple[MobileNet, Tensors]:
    canonical = {_v3_name(name): tensor for name, tensor in names.items()}
    _downscale(canonical)
    tail = canonical.get("backbone.tail.weight")
    if tail is None or tail.ndim != 4:
        raise CheckpointError("last_conv has no weight; not a whole PP-TSM MobileNetV3")
    canonical["backbone.tail.weight"] = tail.flatten(1)
    network = mobilenet_v3(canonical)
    blocks = (replace(block, gate="hardsigmoid_paddle") for block in network.blocks)
    return replace(network, blocks=tuple(blocks)), canonical


def _v3_name(name: str) -> str:
    if name.startswith("head."):
        return name
    name = re.sub(r"^conv\.", "stem.", re.sub(r"^last_second_conv\.", "last.", name))
    name = re.sub(r"^last_conv\.", "tail.", name)
    name = name.replace("mid_se.conv1.", "squeeze.reduce.").replace(
        "mid_se.conv2.", "squeeze.expand."
    )
    for theirs, ours in _V3_LAYERS.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return f"backbone.{name}"


def _downscale(canonical: Tensors) -> None:
    """Fold the factor that this kind of dropout leaves behind into the classifier."""
    canonical["head.weight"] = canonical["head.weight"] * _DOWNSCALE


# --- LCNetV2 -----------------------------------------------------------------------------------


def _lcnet(names: Tensors) -> tuple[LcNet, Tensors]:
    canonical = {_lcnet_name(name): tensor for name, tensor in _fused(names).items()}
    _downscale(canonical)
    last = canonical.get("backbone.last.weight")
    if last is None or last.ndim != 4:
        raise CheckpointError("last_conv has no weight; not a whole PP-TSMv2 network")
    canonical["backbone.last.weight"] = last.flatten(1)
    blocks = tuple(_lcnet_stage(canonical, stage) for stage in range(5))
    stem, _ = channels(canonical, "backbone.stem.conv.weight")
    attention = "backbone.attention.fc.weight" in canonical
    return LcNet(stem, blocks, int(last.shape[0]), attention), canonical


def _lcnet_name(name: str) -> str:
    """Return the canonical name; the stem's own block becomes stage 0."""
    if name.startswith("head."):
        return name
    name = re.sub(r"^stem\.0\.", "stem.", name)
    name = re.sub(r"^stages\.(\d)\.", lambda m: f"stages.{int(m[1]) + 1}.", name)
    name = re.sub(r"^stem\.1\.", "stages.0.0.", name)
    name = re.sub(r"^last_conv\.", "last.", name)
    name = re.sub(r"^global_attention\.", "attention.", name)
    for theirs, ours in (
        (".dw_conv.", ".depthwise."),
        (".pw_conv_1.", ".pointwise1."),
        (".pw_conv_2.", ".pointwise."),
        (".pw_conv.", ".pointwise."),
        (".se.conv1.", ".squeeze.reduce."),
        (".se.conv2.", ".squeeze.expand."),
    ):
        name = name.replace(theirs, ours)
    return f"backbone.{name}"


def _fused(names: Tensors) -> Tensors:
    """Add the parallel depthwise branches of each block into one convolution.

    What the file holds as that convolution is never trained: `rep()` overwrites it on export.
    """
    out = {name: tensor for name, tensor in names.items() if ".dw_conv_list." not in name}
    for block in sorted({n.split(".dw_conv_list.")[0] for n in names if ".dw_conv_list." in n}):
        stem = f"{block}.dw_conv_list."
        branches = sorted({stem + n.removeprefix(stem).split(".")[0] for n in names if stem in n})
        fused = add_branches([fold_norm(names, f"{b}.conv", f"{b}.bn") for b in branches])
        out[f"{block}.dw_conv.weight"], out[f"{block}.dw_conv.bias"] = fused
    return out


def _lcnet_stage(canonical: Tensors, stage: int) -> tuple[DepthwiseBlock, ...]:
    found = sorted(numbers(canonical, f"backbone.stages.{stage}."))
    return tuple(_lcnet_block(canonical, stage, number) for number in found)


def _lcnet_block(canonical: Tensors, stage: int, number: int) -> DepthwiseBlock:
    block = f"backbone.stages.{stage}.{number}"
    fused = f"{block}.depthwise.weight" in canonical
    weight = f"{block}.depthwise.{'' if fused else 'conv.'}weight"
    inputs, _ = channels(canonical, weight)
    outputs, _ = channels(canonical, f"{block}.pointwise.conv.weight")
    split, squeeze = f"{block}.pointwise1.conv.weight", f"{block}.squeeze.reduce.weight"
    stride = 2 if stage > 0 and number == 0 else 1
    return DepthwiseBlock(
        inputs,
        outputs,
        kernel=int(canonical[weight].shape[-1]),
        stride=stride,
        fused=fused,
        split=channels(canonical, split)[0] if split in canonical else 0,
        squeeze=channels(canonical, squeeze)[0] if squeeze in canonical else 0,
        # Of the four stages only the last one is built with shortcuts.
        shortcut=stage == 4 and stride == 1 and inputs == outputs,
    )


# By the start of the stem's key (or of another layer that only this network has).
_KINDS: dict[str, tuple[_Find, Convention]] = {
    "conv._conv.": (_resnet, TSM),
    "conv1_1._conv.": (_tweaked, PP_TSM),
    "conv9._conv.": (_mobilenet_v2, PP_TSM),
    "last_second_conv.": (_mobilenet_v3, PP_TSM),
    "stem.0.": (_lcnet, PP_TSM),
}
READER = Reader(
    "paddle",
    recognizes,
    read,
    "backbone.res2a.conv0._conv.weight, backbone.res2a.conv0._batch_norm._mean, head.fc.weight",
)
