"""Checkpoints of open-mmlab/mmaction2 (0.x and 1.x): TSM ResNet, MobileNetV2 and MobileOne.

`meta` may hold the config's text and the class names; the text is parsed, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from converters.architectures import Network
from converters.architectures.mobilenet import MOBILENET_V2_FIRSTS
from converters.architectures.mobileone import FusedBlock, MobileOne
from converters.checkpoints import backbones, mmaction2_volumes
from converters.checkpoints.beside import Hint
from converters.checkpoints.clip_names import segment_names
from converters.checkpoints.fuse import add_branches, fold_norm
from converters.checkpoints.keys import (
    BlockKey,
    Reader,
    Tensors,
    find_head,
    mobilenet_v2,
    refuse_duplicates,
    refuse_stem,
    resnet,
)
from converters.checkpoints.openmmlab import RESIZE, class_hints, config_in, picture_hints
from converters.checkpoints.settings import setting
from converters.recipe import COMMON_DEFAULTS, Convention, Topology
from edge_tsm.errors import CheckpointError

CONVENTION = Convention(
    name="mmaction2",
    shift_direction="future-past",
    sampling="uniform",  # its SampleFrames in test mode gives upstream's indices
    resize=RESIZE,
    crop_offset="floor",
    defaults={
        **COMMON_DEFAULTS,
        "shift_div": 8,
        # What the configs of its model zoo set; mmcv's own default for use_scale is the opposite.
        "non_local_mode": "embedded_gaussian",
        "non_local_scale": False,
    },
)
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_NON_LOCAL = re.compile(r"^non_local_block\.(g|theta|phi|conv_out)\.(0\.)?(conv|bn)\.(\w+)$")
_MOBILE = re.compile(r"^layer([1-7])\.(\d+)\.conv\.([012])\.(net\.)?(conv|bn)\.(\w+)$")
_ONE_BLOCK = re.compile(r"^(stage0|stage[1-4]\.\d+)(\.(net)\.|\.)")
_LAYERS = ("expand", "depthwise", "project")
_MOBILEONE_SEGMENTS = 8


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as mmaction2 names them."""
    pattern = re.compile(
        r"^backbone\.((slow_path\.)?conv1\.conv|conv1\.bn|stage0)\.|^cls_head\.fc_cls\."
    )
    return any(pattern.match(name) for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `meta`, and file names of the model zoo are free text."""
    plain = {
        name.removeprefix("backbone."): tensor
        for name, tensor in tensors.items()
        if not name.startswith("data_preprocessor.")
    }
    if mmaction2_volumes.recognizes(plain):
        return mmaction2_volumes.read(plain, config_in(outer), class_hints(outer), path)
    backbones.refuse_strangers(plain)
    _refuse_c2d(outer, path)
    stem = plain.get("conv1.conv.weight")
    if stem is not None and stem.ndim == 4:
        refuse_stem("conv1.conv.weight", stem.shape[1])
    head, classes, rest = find_head(plain, ("cls_head.fc_cls",))
    if any(name.startswith("stage0.") for name in rest):
        network, canonical = _mobileone(rest)
    elif any(name.startswith("layer7.") for name in rest):
        network, canonical = _mobilenet(rest)
    else:
        network, canonical = _resnet(rest)
    hints = [*_hints(outer), *_name_hints(path, network)]
    return Topology(network, classes, f"{head}.weight", hints, CONVENTION), canonical


def _refuse_c2d(outer: Mapping[str, Any], path: Path) -> None:
    """Refuse a C2D, whose weights are those of a TSN: it pools pairs of frames.

    Source: open-mmlab/mmaction2, `backbones/c2d.py`.
    """
    kind = setting(config_in(outer), "model.backbone.type")
    names = (path.name, path.absolute().parent.name)
    named = next((name for name in names if name.lower().startswith("c2d_")), None)
    if kind == "C2D" or (named and kind is None):
        source = "its config in `meta`" if kind else f"the name {named}"
        raise CheckpointError(
            f"this is mmaction2's C2D ({source}): 2-D convolutions as a TSN's, and pools over "
            "pairs of frames that no weight shows; it is not converted, SlowOnly and I3D are"
        )


def _resnet(names: Tensors) -> tuple[Network, Tensors]:
    network, canonical = resnet(names, _resnet_key)
    # Sub-sampling wraps the convolution and its pool into a sequence, so the key has a number.
    subsample = any(".non_local_block.g.0." in name for name in names)
    return replace(network, non_local=replace(network.non_local, subsample=subsample)), canonical


def _resnet_key(name: str, tensor: Tensor) -> BlockKey:
    match = _BLOCK.match(name)
    if not match:
        return BlockKey(name.replace("conv1.", "stem.0.", 1), tensor)
    stage, pooled, index, _, net, rest = match.groups()
    if pooled and stage != "2":
        raise CheckpointError(f"layer{stage}.net: temporal pooling is known before layer2 only")
    shift = "block" if net else "blockres" if rest.startswith("conv1.conv.net.") else "none"
    inner = _NON_LOCAL.match(rest)
    if inner:
        layer, _, part, kind = inner.groups()
        rest = f"nl.bn.{kind}" if part == "bn" else f"nl.{layer.replace('conv_', '')}.{kind}"
        if tensor.ndim == 5 and tensor.shape[-1] == 1:
            tensor = tensor[..., 0]
    else:
        rest = rest.replace("conv1.conv.net.", "conv1.conv.", 1)
    return BlockKey(rest, tensor, int(stage), int(index), shift, pooled=bool(pooled))


def _mobilenet(names: Tensors) -> tuple[Network, Tensors]:
    """Number the blocks through; a shifted expansion is wrapped with its batch norm."""
    expands = {name.split(".conv.")[0] for name in names if ".conv.2." in name}
    canonical: Tensors = {}
    shifted: set[int] = set()
    for name, tensor in names.items():
        match = _MOBILE.match(name)
        if not match:
            canonical[_outer_name(name)] = tensor
            continue
        stage, index, layer, net, part, kind = match.groups()
        number = MOBILENET_V2_FIRSTS[int(stage) - 1] + int(index)
        layers = _LAYERS if f"layer{stage}.{index}" in expands else (*_LAYERS[1:], layer)
        canonical[f"backbone.blocks.{number}.{layers[int(layer)]}.{part}.{kind}"] = tensor
        if net:
            shifted.add(number)
    refuse_duplicates(names, canonical, "a wrapper's name")
    return mobilenet_v2(canonical, shifted), canonical


def _outer_name(name: str) -> str:
    if name.startswith("head."):
        return name
    return "backbone." + re.sub(r"^conv1\.", "stem.", re.sub(r"^conv2\.", "last.", name))


def _mobileone(names: Tensors) -> tuple[Network, Tensors]:
    """Add each block's branches into one convolution, as mmpretrain's switch to deploy does."""
    found = {m[1]: bool(m[3]) for m in map(_ONE_BLOCK.match, names) if m}
    order = sorted(found, key=lambda block: [int(n) for n in re.findall(r"\d+", block)])
    canonical = {name: tensor for name, tensor in names.items() if name.startswith("head.")}
    blocks = []
    for number, block in enumerate(order):
        prefix, ours = block + (".net." if found[block] else "."), f"backbone.blocks.{number}"
        own = {n.removeprefix(prefix): t for n, t in names.items() if n.startswith(prefix)}
        weight, bias = _one_convolution(own)
        canonical |= {f"{ours}.conv.weight": weight, f"{ours}.conv.bias": bias}
        for theirs, kind in (("conv1", "reduce"), ("conv2", "expand")):
            for part in ("weight", "bias"):
                if f"se.{theirs}.conv.{part}" in own:
                    canonical[f"{ours}.squeeze.{kind}.{part}"] = own[f"se.{theirs}.conv.{part}"]
        # The stem halves the picture, and so does the first block of each stage.
        stride = 2 if number == 0 or block.endswith(".0") else 1
        squeeze = own.get("se.conv1.conv.weight")
        depthwise = weight.shape[1] == 1
        blocks.append(
            FusedBlock(
                inputs=int(weight.shape[0] if depthwise else weight.shape[1]),
                outputs=int(weight.shape[0]),
                kernel=int(weight.shape[-1]),
                stride=stride,
                depthwise=depthwise,
                shift=found[block],
                squeeze=int(squeeze.shape[0]) if squeeze is not None else 0,
            )
        )
    return MobileOne(tuple(blocks)), canonical


def _one_convolution(own: Tensors) -> tuple[Tensor, Tensor]:
    """Return a block's convolution: the fused one, or the sum of its branches."""
    if "branch_reparam.weight" in own and "branch_reparam.bias" in own:
        return own["branch_reparam.weight"], own["branch_reparam.bias"]
    listed = sorted({n.rpartition(".conv.")[0] for n in own if n.startswith("branch_conv_list.")})
    listed = [name for name in listed if name]
    names = [*listed, *(["branch_scale"] if "branch_scale.conv.weight" in own else [])]
    if not listed:
        raise CheckpointError("a MobileOne block has neither branches nor a fused convolution")
    branches = [fold_norm(own, f"{name}.conv", f"{name}.norm") for name in names]
    if "branch_norm.weight" in own:
        weight, bias = fold_norm(own, None, "branch_norm")
        if branches[0][0].shape[1] != 1:  # pointwise: the identity is a diagonal
            weight = torch.diag(weight.flatten())[:, :, None, None]
        branches.append((weight, bias))
    return add_branches(branches)


# --- meta --------------------------------------------------------------------------------------


def _hints(outer: Mapping[str, Any]) -> list[Hint]:
    """Read config and class names from `meta`, where a runner left them."""
    config = config_in(outer)
    hints = [("config in `meta`", _config_hints(config))] if config else []
    return [*hints, *class_hints(outer)]


def _name_hints(path: Path, network: Network) -> list[Hint]:
    """Read `CLIPxINTERVALxCLIPS` in a model zoo's names of the file and its folder.

    A TSM is trained on CLIPS single frames: 1x1x16 are 16 segments.
    """
    found = segment_names(path)
    for _, hints in found:
        if isinstance(network, MobileOne) and hints["segments"] % _MOBILEONE_SEGMENTS == 0:
            # The published config sets the head's segments only; its backbone shifts 8 together.
            hints["shift_segments"] = _MOBILEONE_SEGMENTS
    return found


def _config_hints(config: Mapping[str, Any]) -> dict[str, Any]:
    """Take segments, shift_div, non-local mode and picture out of a config's assignments."""
    model = config.get("model")
    backbone = model.get("backbone") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(backbone, dict):
        return {}
    names = {"segments": "num_segments", "shift_div": "shift_div"}
    hints = {name: backbone[key] for name, key in names.items() if key in backbone}
    head = model.get("cls_head")
    if isinstance(head, dict) and isinstance(head.get("num_segments"), int):
        # The head decides how many frames a clip has; its backbone may shift fewer together.
        hints["shift_segments"] = hints.get("segments", 8)
        hints["segments"] = head["num_segments"]
    if isinstance(head, dict) and _is_multi_label(head):
        hints["activation"] = "sigmoid"
    non_local = backbone.get("non_local_cfg")
    if isinstance(non_local, dict) and non_local:
        hints["non_local_mode"] = non_local.get("mode", "embedded_gaussian")
        hints["non_local_scale"] = non_local.get("use_scale", True)
    return {**hints, **picture_hints(config)}


def _is_multi_label(head: Mapping[str, Any]) -> bool:
    """Return whether a head was trained with a probability of its own for each class."""
    loss = head.get("loss_cls")
    kind = loss.get("type", "") if isinstance(loss, dict) else ""
    return head.get("multi_class") is True or str(kind).startswith(("BCE", "Binary"))


READER = Reader(
    "mmaction2",
    recognizes,
    read,
    "backbone.conv1.conv.weight, backbone.layer1.0.conv1.conv.net.weight, cls_head.fc_cls.weight",
)
