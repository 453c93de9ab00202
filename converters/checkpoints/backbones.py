"""Image networks inside a TSM wrapper, by the names their code bases give the weights.

`BACKBONES` is asked in order; names come without the wrapper's prefix, and what is left of a
classifier is called `head.`. Networks that are known but not converted are `STRANGERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from converters.architectures.base import FrameNetwork, ShiftPlace
from converters.architectures.efficientnet import EFFICIENTNETS, EfficientNet, efficientnet
from converters.architectures.layers import Habits
from converters.architectures.mobilenet import (
    UPSTREAM_EXPANDED,
    UPSTREAM_PLAIN,
    InvertedResidual,
    MobileNet,
)
from converters.architectures.regnet import REGNETS, GroupedBlock, RegNet, regnet
from converters.architectures.resnet import UPSTREAM_NON_LOCAL, ResNet
from converters.checkpoints.keys import (
    BlockKey,
    Tensors,
    channels,
    inverted_residual,
    mobilenet_v2,
    mobilenet_v3,
    numbers,
    refuse_duplicates,
    refuse_stem,
    resnet,
)
from edge_tsm.errors import CheckpointError

Find = Callable[[Tensors], tuple[FrameNetwork, Tensors]]
HEADS = ("classifier.1", "classifier.3", "head.fc", "_fc", "last_linear")
"""Classifiers of the backbones here by their own names, besides `fc` and `classifier`."""


@dataclass(frozen=True)
class Backbone:
    """One way to name a network's weights: `mark` is found in the names of no other one."""

    name: str
    mark: re.Pattern[str]
    read: Find

    def recognizes(self, names: Iterable[str]) -> bool:
        """Return whether some name is marked so."""
        return any(self.mark.match(name) for name in names)


def find(names: Collection[str]) -> Backbone | None:
    """Return the first backbone that recognizes names."""
    return next((backbone for backbone in BACKBONES if backbone.recognizes(names)), None)


def read(names: Tensors) -> tuple[FrameNetwork, Tensors]:
    """Return the network that names and shapes describe, and its weights under canonical names.

    Raises:
        CheckpointError: not a network that edge-tsm converts, or not a whole one.
    """
    refuse_strangers(names)
    body = {name: tensor for name, tensor in names.items() if not name.startswith("head.")}
    backbone = find(body)
    if backbone is None:
        shown = ", ".join(list(body)[:3])
        raise CheckpointError(f"no network with a temporal shift is known with names like {shown}")
    _refuse_stem(body)
    network, canonical = backbone.read(body)
    return network, canonical | {name: names[name] for name in names.keys() - body.keys()}


# --- what is known and not converted -------------------------------------------------------------

# By what some name holds; the first that fits is told. More special ones come before more general.
STRANGERS: dict[str, re.Pattern[str]] = {
    name: re.compile(rf"(?:^|\.)(?:{mark})")
    for name, mark in {
        "a BNInception network": r"conv1_7x7_s2\.",
        "an MViT": r"attn\.(?:pool_[qkv]|norm_[qkv])\.|cls_positional_embedding",
        "a Swin Transformer": r".*relative_position_bias_table$",
        "a vision transformer (ViT)": r"cls_token$|class_token$|class_embedding$|pos_embed$"
        r"|blocks\.0\.attn\.qkv\.|encoder_layer_0\.|position_embeddings$",
        "a ConvNeXt": r"downsample_layers\.|stages\.0\.blocks\.0\.conv_dw\.|.*layer_scale$",
        "an Inception-v3": r"Conv2d_1a_3x3\.|Mixed_5b\.branch1x1\.",
        "an I3D network": r"Conv3d_1a_7x7\.|Conv3d_2b_1x1\.",
        "a GoogLeNet": r"inception3a\.",
        "a DenseNet": r"denseblock1\.",
        "a VGG": r"features\.\d+\.(?:net\.)?weight$",
        "a ShuffleNet": r"stage2\.0\.branch[12]\.",
        "an R(2+1)D network": r"layer1\.0\.conv1\.0\.\d\.weight$|.*conv\.conv_s\.",
        "an X3D": r"conv1_[st]\.conv\.weight|.*(?:stem\.conv_xy|conv\.conv_t|norm_b\.1\.block)",
        "a C3D": r"conv[345]a\.(?:conv\.)?weight$",
        "a Res2Net": r"layer1\.0\.convs\.0\.",
        "a ResNeSt": r"layer1\.0\.conv2\.(?:fc1|radix)\.",
        "an EfficientNetV2": r"blocks\.(?:0\.0\.conv|1\.0\.conv_exp)\.(?:net\.)?weight$",
    }.items()
}
_STEM = re.compile(
    r"(?:(?:layer0\.)?conv1(?:\.0)?|features\.0\.0|_?conv_stem|stem\.(?:0|conv))\.weight$"
)


def refuse_strangers(names: Mapping[str, Tensor]) -> None:
    """Refuse networks that are known, but not converted.

    Raises:
        CheckpointError: it names the network.
    """
    for kind, mark in STRANGERS.items():
        if any(mark.search(name) for name in names):
            raise CheckpointError(f"this is {kind}, which edge-tsm does not convert")
    for name, tensor in names.items():
        if tensor.ndim == 5 and tensor.shape[2] > 1:
            raise CheckpointError(
                f"{name} is a 3-D convolution {tuple(tensor.shape)}, and the names are of no "
                "network over clips that is known here (SlowFast, Slow, I3D, C2D of PySlowFast, "
                "pytorchvideo, mmaction2, PaddleVideo)"
            )


def _refuse_stem(names: Mapping[str, Tensor]) -> None:
    """Refuse networks of other pictures than RGB ones."""
    for name, weight in names.items():
        if _STEM.match(name) and weight.ndim == 4:
            refuse_stem(name, weight.shape[1])


# --- ResNet, ResNeXt, SE and ECA -----------------------------------------------------------------

# [net.] before the block: temporal pool; [block.]: non-local's wrapper; [net.]: shift place block.
_BLOCK = re.compile(r"^layer([1-4])\.(net\.)?(\d+)\.(block\.)?(net\.)?(.+)$")
_GATES = {
    "se.fc1.": "squeeze.reduce.",
    "se.fc2.": "squeeze.expand.",
    "se_module.fc1.": "squeeze.reduce.",
    "se_module.fc2.": "squeeze.expand.",
    "se.conv.": "squeeze.conv.",
}


def _resnet(names: Tensors) -> tuple[ResNet, Tensors]:
    """Read torchvision's and timm's names, and those of SENet's own form (`layer0.`)."""
    legacy = any(name.startswith("layer0.") for name in names)
    if legacy != any(".se_module." in name for name in names):
        raise CheckpointError(
            "`se_module` and `layer0` belong together, as in pretrainedmodels' SE-ResNet; one "
            "without the other is a network whose strides are not known"
        )
    deep = any(name.startswith("conv1.6.") for name in names)
    plain = {name.removeprefix("layer0."): tensor for name, tensor in names.items()}
    return resnet(plain, partial(_resnet_key, deep=deep), legacy=legacy)


def _resnet_key(name: str, tensor: Tensor, *, deep: bool) -> BlockKey:
    """Take one key of a ResNet apart; a `deep` one has three convolutions as stem."""
    match = _BLOCK.match(name)
    if not match:
        return BlockKey(_stem_name(name, deep=deep), tensor)
    stage, pooled, index, _, net, rest = match.groups()
    if pooled and stage != "2":
        raise CheckpointError(f"layer{stage}.net: temporal pooling is known before layer2 only")
    shift = "block" if net else "blockres" if rest.startswith("conv1.net.") else "none"
    if rest.startswith("nl."):
        part, _, kind = rest[3:].rpartition(".")
        flat = tensor[..., 0] if tensor.ndim == 5 and tensor.shape[-1] == 1 else tensor
        rest, tensor = f"nl.{UPSTREAM_NON_LOCAL.get(part, part)}.{kind}", flat
    else:
        rest = _layer(rest.replace("conv1.net.", "conv1.", 1), first=1 if deep else 0)
    if rest == "squeeze.conv.weight" and tensor.ndim == 3:
        tensor = tensor[:, :, None]  # from a 1-D convolution over channels
    return BlockKey(rest, tensor, int(stage), int(index), shift, pooled=bool(pooled))


def _stem_name(name: str, *, deep: bool) -> str:
    """Return the name of a layer before the stages; of a deep stem, `bn1` is the last norm."""
    if not deep:
        return _layer(name).replace("conv1.", "stem.0.", 1)
    inner = re.match(r"^conv1\.([01346])\.(\w+)$", name)
    if inner:
        number, part = divmod(int(inner[1]), 3)
        return f"stem.{number}.{'bn' if part else 'conv'}.{inner[2]}"
    return re.sub(r"^bn1\.", "stem.2.bn.", name)


def _layer(name: str, *, first: int = 0) -> str:
    """Return `conv1.weight`, `bn1.bias`, `downsample.0.weight` as canonical names.

    `first` is the number of the shortcut's convolution, before which ResNet-D pools.
    """
    for theirs, ours in _GATES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    name = re.sub(rf"^downsample\.{first}\.", "downsample.conv.", name)
    name = re.sub(rf"^downsample\.{first + 1}\.", "downsample.bn.", name)
    name = re.sub(r"^bn(\d)\.", r"conv\1.bn.", name)
    return re.sub(r"^(conv\d|stem\.0)\.(weight|bias)$", r"\1.conv.\2", name)


# --- MobileNet and EfficientNet ------------------------------------------------------------------


@dataclass(frozen=True)
class _Naming:
    """How a code base names inverted residuals: block, layer, weight; `outer` is all else.

    Layers are called otherwise in a block that expands, which `expands` tells by them.
    """

    block: re.Pattern[str]
    expanded: Mapping[str, str]
    plain: Mapping[str, str]
    outer: Mapping[str, str]  # by how a name begins
    expands: Callable[[Collection[str]], bool]

    def canonical(self, names: Tensors) -> tuple[Tensors, set[int]]:
        """Return the weights under canonical names, and the numbers of shifted blocks.

        Raises:
            CheckpointError: a shift where none is known.
        """
        plain = {name: name.replace(".net.", ".") for name in names}
        layers: dict[str, set[str]] = {}
        for match in filter(None, map(self.block.match, plain.values())):
            layers.setdefault(match[1], set()).add(match[2])
        order = sorted(layers, key=lambda block: [int(n) for n in re.findall(r"\d+", block)])
        numbered = {
            block: (number, self.expanded if self.expands(layers[block]) else self.plain)
            for number, block in enumerate(order)
        }
        renamed = {name: self._renamed(bare, numbered) for name, bare in plain.items()}
        canonical = {f"backbone.{ours}": names[name] for name, ours in renamed.items()}
        refuse_duplicates(names, canonical, "`.net.`")
        return canonical, {_shifted(name, renamed[name]) for name in names if plain[name] != name}

    def _renamed(self, name: str, blocks: Mapping[str, tuple[int, Mapping[str, str]]]) -> str:
        match = self.block.match(name)
        if match:
            number, layers = blocks[match[1]]
            return f"blocks.{number}.{layers.get(match[2], match[2])}.{match[3]}"
        for theirs, ours in self.outer.items():
            if found := re.match(theirs, name):
                return ours + name[found.end() :]
        return name


def _shifted(name: str, renamed: str) -> int:
    match = re.match(r"blocks\.(\d+)\.expand\.", renamed)
    if match is None:
        raise CheckpointError(
            f"{name}: in such networks a shift is known before the first 1x1 convolution of a "
            "block that expands, and nowhere else"
        )
    return int(match[1])


_FEATURES = {  # torchvision's and upstream's
    r"features\.0\.0\.": "stem.conv.",
    r"features\.0\.1\.": "stem.bn.",
    r"features\.\d+\.0\.(?=\w+$)": "last.conv.",
    r"features\.\d+\.1\.(?=\w+$)": "last.bn.",
    r"classifier\.0\.": "tail.",
}
_GATE = {"se.conv_reduce": "squeeze.reduce", "se.conv_expand": "squeeze.expand"}
_UPSTREAM = _Naming(
    re.compile(r"(features\.\d+)\.conv\.(\d)\.(\w+)$"),
    {str(number): layer for number, layer in UPSTREAM_EXPANDED.items()},
    {str(number): layer for number, layer in UPSTREAM_PLAIN.items()},
    _FEATURES,
    lambda layers: "6" in layers,
)
_TORCHVISION_V2 = _Naming(
    re.compile(r"(features\.\d+)\.conv\.(\d(?:\.\d)?)\.(\w+)$"),
    {
        "0.0": "expand.conv",
        "0.1": "expand.bn",
        "1.0": "depthwise.conv",
        "1.1": "depthwise.bn",
        "2": "project.conv",
        "3": "project.bn",
    },
    {"0.0": "depthwise.conv", "0.1": "depthwise.bn", "1": "project.conv", "2": "project.bn"},
    _FEATURES,
    lambda layers: "1.0" in layers,
)
_TORCHVISION_BLOCKS = _Naming(  # of MobileNetV3 and EfficientNet: convolutions, a gate among them
    re.compile(r"(features(?:\.\d+)+)\.block\.(\d\.(?:\d|fc\d))\.(\w+)$"),
    {
        "0.0": "expand.conv",
        "0.1": "expand.bn",
        "1.0": "depthwise.conv",
        "1.1": "depthwise.bn",
        "2.fc1": "squeeze.reduce",
        "2.fc2": "squeeze.expand",
        "2.0": "project.conv",
        "2.1": "project.bn",
        "3.0": "project.conv",
        "3.1": "project.bn",
    },
    {
        "0.0": "depthwise.conv",
        "0.1": "depthwise.bn",
        "1.fc1": "squeeze.reduce",
        "1.fc2": "squeeze.expand",
        "1.0": "project.conv",
        "1.1": "project.bn",
        "2.0": "project.conv",
        "2.1": "project.bn",
    },
    _FEATURES,
    lambda layers: "1.0" in layers and bool({"2.0", "2.fc1"} & set(layers)),
)
_TIMM = _Naming(
    re.compile(r"(blocks\.\d+\.\d+)\.((?:se\.)?\w+)\.(\w+)$"),
    {
        **_GATE,
        "conv_pw": "expand.conv",
        "bn1": "expand.bn",
        "conv_dw": "depthwise.conv",
        "bn2": "depthwise.bn",
        "conv_pwl": "project.conv",
        "bn3": "project.bn",
    },
    {
        **_GATE,
        "conv_dw": "depthwise.conv",
        "bn1": "depthwise.bn",
        "conv_pw": "project.conv",
        "bn2": "project.bn",
    },
    {
        r"conv_stem\.": "stem.conv.",
        r"bn1\.": "stem.bn.",
        r"conv_head\.": "last.conv.",
        r"bn2\.": "last.bn.",
    },
    lambda layers: "conv_pwl" in layers,
)
_LUKEMELAS_LAYERS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.bn",
    "_se_reduce": "squeeze.reduce",
    "_se_expand": "squeeze.expand",
    "_project_conv": "project.conv",
    "_bn2": "project.bn",
}
_LUKEMELAS = _Naming(
    re.compile(r"(_blocks\.\d+)\.(\w+)\.(\w+)$"),
    _LUKEMELAS_LAYERS,
    _LUKEMELAS_LAYERS,
    {
        r"_conv_stem\.": "stem.conv.",
        r"_bn0\.": "stem.bn.",
        r"_conv_head\.": "last.conv.",
        r"_bn1\.": "last.bn.",
    },
    lambda layers: True,
)


def _mobilenet_v2(names: Tensors, naming: _Naming) -> tuple[MobileNet, Tensors]:
    canonical, shifted = naming.canonical(names)
    return mobilenet_v2(canonical, shifted), canonical


def _torchvision_v3(names: Tensors) -> tuple[MobileNet, Tensors]:
    canonical, shifted = _TORCHVISION_BLOCKS.canonical(names)
    return replace(mobilenet_v3(canonical, shifted), habits=Habits(eps=1e-3)), canonical


def _torchvision_efficientnet(names: Tensors) -> tuple[EfficientNet, Tensors]:
    canonical, shifted = _TORCHVISION_BLOCKS.canonical(names)
    return _efficientnet(canonical, shifted), canonical


def _lukemelas(names: Tensors) -> tuple[EfficientNet, Tensors]:
    """Read the names of EfficientNet-PyTorch, which pads for the size a network was made for."""
    canonical, shifted = _LUKEMELAS.canonical(names)
    network = _efficientnet(canonical, shifted)
    size_px = EFFICIENTNETS[network.name][2]
    return replace(network, habits=Habits(eps=1e-3, padding=size_px)), canonical


def _timm(names: Tensors) -> tuple[MobileNet, Tensors]:
    """Read the names that timm gives MobileNetV2, V3 and EfficientNet alike.

    Of the latter two it also has networks that TensorFlow trained, which pad in another way.
    """
    if "conv_head.bias" in names:
        return _timm_v3(names)
    canonical, shifted = _TIMM.canonical(names)
    if not any(".squeeze." in name for name in canonical):
        return mobilenet_v2(canonical, shifted), canonical
    return replace(_efficientnet(canonical, shifted), ambiguous=True), canonical


def _timm_v3(names: Tensors) -> tuple[MobileNet, Tensors]:
    """Its last convolution is a block of its own, and the layer after pooling its head."""
    stage = max(numbers(names, "blocks."), default=0)
    own = {f"blocks.{stage}.0.conv.": "conv_head.", f"blocks.{stage}.0.bn1.": "bn2."}
    tail = {"conv_head.weight": "tail.weight", "conv_head.bias": "tail.bias"}
    moved: Tensors = {}
    for name, tensor in names.items():
        start = next((start for start in own if name.startswith(start)), "")
        flat = tensor.flatten(1) if name == "conv_head.weight" else tensor
        renamed = own[start] + name.removeprefix(start) if start else tail.get(name, name)
        moved[renamed] = flat
    canonical, shifted = _TIMM.canonical(moved)
    return replace(mobilenet_v3(canonical, shifted), ambiguous=True), canonical


def _efficientnet(canonical: Tensors, shifted: Collection[int]) -> EfficientNet:
    """Return the EfficientNet that has these blocks.

    Raises:
        CheckpointError: none of those known has them.
    """
    count = max(numbers(canonical, "backbone.blocks."), default=-1) + 1
    for network in map(efficientnet, EFFICIENTNETS):
        if len(network.blocks) == count and all(
            _fits(canonical, number, block) for number, block in enumerate(network.blocks)
        ):
            blocks = (
                replace(block, shift=number in shifted)
                for number, block in enumerate(network.blocks)
            )
            return replace(network, blocks=tuple(blocks))
    raise CheckpointError(
        f"{count} blocks, which are those of no network that edge-tsm converts with such names: "
        f"{', '.join(EFFICIENTNETS)}"
    )


def _fits(canonical: Tensors, number: int, block: InvertedResidual) -> bool:
    """Return whether widths and kernel of a block are those of the weights."""
    return inverted_residual(canonical, number, block.stride) == replace(
        block, activation="relu6", gate="hardsigmoid", squeeze_activation="relu"
    )


# --- RegNet --------------------------------------------------------------------------------------

# [net.] before the layer: shift place block.
_TORCHVISION_REGNET = re.compile(r"trunk_output\.block(\d)\.block\d-(\d+)\.(net\.)?(.+)\.(\w+)$")
_TIMM_REGNET = re.compile(r"s(\d)\.b(\d+)\.(net\.)?(.+)\.(\w+)$")
_REGNET_LAYERS = {
    "f.a.0": "a.conv",
    "f.a.1": "a.bn",
    "f.b.0": "b.conv",
    "f.b.1": "b.bn",
    "f.c.0": "c.conv",
    "f.c.1": "c.bn",
    "proj.0": "shortcut.conv",
    "proj.1": "shortcut.bn",
    "f.se.fc1": "squeeze.reduce",
    "f.se.fc2": "squeeze.expand",
    "conv1.conv": "a.conv",
    "conv1.bn": "a.bn",
    "conv2.conv": "b.conv",
    "conv2.bn": "b.bn",
    "conv3.conv": "c.conv",
    "conv3.bn": "c.bn",
    "downsample.conv": "shortcut.conv",
    "downsample.bn": "shortcut.bn",
    "se.fc1": "squeeze.reduce",
    "se.fc2": "squeeze.expand",
}
_REGNET_STEM = {"stem.0.": "stem.conv.", "stem.1.": "stem.bn."}


def _regnet(names: Tensors, pattern: re.Pattern[str], first: int) -> tuple[RegNet, Tensors]:
    """Read a RegNet whose blocks `pattern` finds, counted from `first` within a stage."""
    canonical: Tensors = {}
    places: dict[tuple[int, int], set[ShiftPlace]] = {}
    for name, tensor in names.items():
        match = pattern.match(name)
        if match is None:
            stem = next((s for s in _REGNET_STEM if name.startswith(s)), "")
            outer = _REGNET_STEM.get(stem, "") + name.removeprefix(stem)
            canonical[f"backbone.{outer}"] = tensor
            continue
        stage, index = int(match[1]) - 1, int(match[2]) - first
        layer = f"{match[4]}.".replace(".net.", ".").removesuffix(".")
        ours = _REGNET_LAYERS.get(layer, layer)
        canonical[f"backbone.stages.{stage}.{index}.{ours}.{match[5]}"] = tensor
        places.setdefault((stage, index), set()).add(_regnet_place(name, match, ours))
    refuse_duplicates(names, canonical, "`.net.`")
    return _known_regnet(canonical, places), canonical


def _regnet_place(name: str, match: re.Match[str], layer: str) -> ShiftPlace:
    if match[3]:
        return "block"
    if ".net." not in name:
        return "none"
    if not layer.startswith("a."):
        raise CheckpointError(f"{name}: a shift is known before a block's first convolution only")
    return "blockres"


def _known_regnet(canonical: Tensors, places: Mapping[tuple[int, int], set[ShiftPlace]]) -> RegNet:
    """Return the RegNet that has these blocks, shifted as found."""
    stages = [
        tuple(
            _grouped_block(canonical, stage, index)
            for index in sorted(numbers(canonical, f"backbone.stages.{stage}."))
        )
        for stage in sorted(numbers(canonical, "backbone.stages."))
    ]
    network = next((n for n in map(regnet, REGNETS) if n.stages == tuple(stages)), None)
    if network is None:
        raise CheckpointError(
            f"a RegNet of {[len(stage) for stage in stages]} blocks, which is none of those that "
            f"edge-tsm converts: {', '.join(REGNETS)}"
        )
    shifted = (
        tuple(
            replace(block, shift=_one_place(places[stage, index]))
            for index, block in enumerate(blocks)
        )
        for stage, blocks in enumerate(network.stages)
    )
    return replace(network, stages=tuple(shifted))


def _one_place(found: Collection[ShiftPlace]) -> ShiftPlace:
    """Return a block's place: that of any layer which is wrapped."""
    return next((place for place in ("block", "blockres") if place in found), "none")


def _grouped_block(canonical: Tensors, stage: int, index: int) -> GroupedBlock:
    block = f"backbone.stages.{stage}.{index}"
    _, inputs = channels(canonical, f"{block}.a.conv.weight")
    width, group = channels(canonical, f"{block}.b.conv.weight")
    squeeze = f"{block}.squeeze.reduce.weight"
    return GroupedBlock(
        inputs,
        width,
        stride=1 if index else 2,
        groups=width // group,
        squeeze=channels(canonical, squeeze)[0] if squeeze in canonical else 0,
    )


# --- the table -----------------------------------------------------------------------------------

OFFICIAL_MOBILENET = Backbone(
    "upstream's MobileNetV2",
    re.compile(r"features\.\d+\.(?:conv\.)?\d\.(?:net\.)?\w+$"),
    partial(_mobilenet_v2, naming=_UPSTREAM),
)
BACKBONES: Sequence[Backbone] = (
    Backbone(
        "torchvision's EfficientNet",
        re.compile(r"features\.\d+\.\d+\.block\."),
        _torchvision_efficientnet,
    ),
    Backbone("torchvision's MobileNetV3", re.compile(r"features\.\d+\.block\."), _torchvision_v3),
    Backbone(
        "torchvision's MobileNetV2",
        re.compile(r"features\.\d+\.conv\.0\.(?:0\.|net\.0\.)"),
        partial(_mobilenet_v2, naming=_TORCHVISION_V2),
    ),
    OFFICIAL_MOBILENET,
    Backbone("timm's MobileNet and EfficientNet", re.compile(r"conv_stem\."), _timm),
    Backbone("lukemelas's EfficientNet", re.compile(r"_conv_stem\."), _lukemelas),
    Backbone(
        "torchvision's RegNet",
        re.compile(r"trunk_output\."),
        partial(_regnet, pattern=_TORCHVISION_REGNET, first=0),
    ),
    Backbone(
        "timm's RegNet",
        re.compile(r"s1\.b1\."),
        partial(_regnet, pattern=_TIMM_REGNET, first=1),
    ),
    Backbone("ResNet", re.compile(r"(?:layer0\.)?conv1\.|layer1\."), _resnet),
)
"""In the order in which they are asked."""


def recognizes(names: Collection[str]) -> bool:
    """Return whether names are those of a backbone, or of a network that is refused by name."""
    marks = STRANGERS.values()
    return find(names) is not None or any(mark.search(name) for mark in marks for name in names)
