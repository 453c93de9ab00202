"""Image networks inside a TSM wrapper, by the names that their code gives the weights.

Names come without prefix; `BACKBONES` is asked in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from converters.architectures.base import Network
from converters.architectures.mobilenet import UPSTREAM_EXPANDED, UPSTREAM_PLAIN, MobileNet
from converters.architectures.resnet import UPSTREAM_NON_LOCAL, ResNet
from converters.checkpoints.keys import (
    BlockKey,
    Tensors,
    mobilenet_v2,
    refuse_duplicates,
    refuse_stem,
    resnet,
)
from edge_tsm.errors import CheckpointError

HEADS: tuple[str, ...] = ()
"""Classifiers of the backbones here by their own names, besides `fc` and `classifier`."""
# [net.] before the block: temporal pool; [block.]: non-local's wrapper; [net.]: shift place block.
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_MOBILE_SHIFT = re.compile(r"^features\.\d+\.conv\.0\.net\.")


@dataclass(frozen=True)
class Backbone:
    """One way to name a network's weights: `mark` is found in the names of no other one."""

    name: str
    mark: re.Pattern[str]
    read: Callable[[Tensors], tuple[Network, Tensors]]

    def recognizes(self, names: Iterable[str]) -> bool:
        """Return whether some name is marked so."""
        return any(self.mark.match(name) for name in names)


def find(names: Collection[str]) -> Backbone | None:
    """Return the first backbone that recognizes names."""
    return next((backbone for backbone in BACKBONES if backbone.recognizes(names)), None)


def read(names: Tensors) -> tuple[Network, Tensors]:
    """Return the network that names and shapes describe, and its weights under canonical names.

    What the network does not have keeps its name, after `backbone.`.

    Raises:
        CheckpointError: not a network that edge-tsm converts, or not a whole one.
    """
    refuse_strangers(names)
    backbone = find(names)
    if backbone is None:
        shown = ", ".join(list(names)[:3])
        raise CheckpointError(f"no network with a temporal shift is known with names like {shown}")
    return backbone.read(names)


def recognizes(names: Collection[str]) -> bool:
    """Return whether names are those of a backbone, or of a network that is refused by name."""
    return find(names) is not None or any(name.startswith("conv1_7x7_s2") for name in names)


def refuse_strangers(names: Mapping[str, Tensor]) -> None:
    """Refuse networks that are known, but not converted.

    Raises:
        CheckpointError: it names the network.
    """
    if any(name.startswith("conv1_7x7_s2") for name in names):
        raise CheckpointError("this is a BNInception network, which edge-tsm does not convert")
    for stem in ("conv1.weight", "features.0.0.weight"):
        shape = tuple(names[stem].shape) if stem in names else ()
        if len(shape) == 4:
            refuse_stem(stem, shape[1])


def _resnet(names: Tensors) -> tuple[ResNet, Tensors]:
    return resnet(names, _resnet_key)


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


OFFICIAL_MOBILENET = Backbone(
    "upstream's MobileNetV2",
    re.compile(r"features\.\d+\.(?:conv\.)?\d\.(?:net\.)?\w+$"),
    _mobilenet,
)
BACKBONES: Sequence[Backbone] = (
    OFFICIAL_MOBILENET,
    Backbone("ResNet", re.compile(r"conv1\.|layer1\."), _resnet),
)
"""In the order in which they are asked."""
