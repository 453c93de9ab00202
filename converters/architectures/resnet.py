"""ResNet, plain or tweaked, with the shift where the checkpoint had it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.base import Namer, ShiftedNetwork, ShiftPlace
from converters.architectures.layers import (
    Activation,
    ChannelAttention,
    ConvBN,
    SqueezeExcite,
    activate,
)
from converters.architectures.non_local import NonLocal, NonLocalBlock, NonLocalMode
from converters.architectures.shift import Shift, TemporalPool, TemporalShift

# name: (blocks per stage, bottleneck). Source: torchvision, models/resnet.py.
RESNETS: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_OTHERS = (
    *("wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d"),
    *("seresnet50", "seresnext50_32x4d", "ecaresnet50d", "ecaresnet101d"),
)
_NAME = re.compile(
    r"(?:wide_)?(?P<gate>se|eca)?resnex?t(?P<depth>\d+)(?P<deep>d)?"
    r"(?:_(?P<groups>\d+)x(?P<group_width>\d+)d|_(?P<wider>\d+))?"
)
# Stage and block, from 0, that non-local blocks follow. Source: ops/non_local.py, `make_non_local`.
_NON_LOCAL_PLACES = {(1, 0), (1, 2), (2, 0), (2, 2), (2, 4)}
UPSTREAM_NON_LOCAL = {"g.0": "g", "phi.0": "phi", "theta": "theta", "W.0": "out", "W.1": "bn"}
"""Layers of a non-local block by upstream's names."""


@dataclass(frozen=True)
class ResidualBlock:
    """One ResNet block: where its input is shifted, and whether a non-local block follows.

    Its output's channels are gated with `squeeze`, the inner width of squeeze-and-excitation, or
    with `eca`, the kernel of efficient channel attention; 0 without.
    """

    shift: ShiftPlace
    non_local: bool = False
    squeeze: int = 0
    eca: int = 0

    def upstream_name(self, name: str) -> str:
        """Return a name within the block with the wrappers that shift and non-local put there."""
        if name.startswith("nl."):
            part, _, kind = name[3:].rpartition(".")
            theirs = next(t for t, ours in UPSTREAM_NON_LOCAL.items() if ours == part)
            return f"nl.{theirs}.{kind}"
        name = _torchvision_name(name)
        if self.shift == "blockres":
            name = re.sub(r"^conv1\.", "conv1.net.", name)
        wrapper = ("block." if self.non_local else "") + ("net." if self.shift == "block" else "")
        return wrapper + name


@dataclass(frozen=True)
class ResNet(ShiftedNetwork):
    """A ResNet; `width` is the 3x3 convolutions' channel count in the first stage.

    `groups` are those of the 3x3 convolutions (ResNeXt). A `stem` of three widths is ResNet-D: 3x3
    convolutions, and average pooling before the shortcut's convolution. `legacy` is the SENet
    paper's own form: stride in the 1x1 convolution, pooling without padding.
    """

    bottleneck: bool
    width: int
    stages: tuple[tuple[ResidualBlock, ...], ...]
    temporal_pool: bool = False
    non_local: NonLocal = field(default_factory=NonLocal)
    groups: int = 1
    stem: tuple[int, ...] = (64,)
    activation: Activation = "relu"
    legacy: bool = False
    family: ClassVar[str] = "resnet"
    names: ClassVar[tuple[str, ...]] = (*RESNETS, *_OTHERS)

    @property
    def tweaked(self) -> bool:
        """Whether it is a ResNet-D."""
        return len(self.stem) > 1

    @property
    def name(self) -> str:
        """The field's name, by block counts; unusual counts are spelled out."""
        counts = tuple(map(len, self.stages))
        known = {shape: name for name, shape in RESNETS.items()}
        name = known.get((counts, self.bottleneck), f"resnet{list(counts)}")
        if self.tweaked:  # PaddleVideo's name for it, and timm's
            name += "_vd" if self.activation == "leaky_relu" else "d"
        if self.groups > 1:
            name = (
                name.replace("resnet", "resnext") + f"_{self.groups}x{self.width // self.groups}d"
            )
        elif self.width != 64:
            name = f"wide_{name}_{self.width // 64}"
        block = self.stages[0][0]
        name = f"{'se' if block.squeeze else 'eca' if block.eca else ''}{name}"
        return f"legacy_{name}" if self.legacy else name

    @property
    def features(self) -> int:
        """Channels after the last stage."""
        last: int = 64 << (len(self.stages) - 1)
        return last * (4 if self.bottleneck else 1)

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return [block.shift for stage in self.stages for block in stage]

    @property
    def non_local_blocks(self) -> int:
        """How many non-local blocks there are."""
        return sum(block.non_local for stage in self.stages for block in stage)

    @property
    def non_local_mode(self) -> NonLocalMode | None:
        """See `Network`."""
        return self.non_local.mode if self.non_local_blocks else None

    @property
    def upstream_namer(self) -> Namer | None:
        """See `Network`."""
        block = self.stages[0][0]
        plain = not (self.tweaked or self.legacy or block.squeeze or block.eca or self.groups > 1)
        return self._upstream_name if plain else None

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> ResNet | None:
        """See `Network`."""
        parts = _NAME.fullmatch(name)
        if name not in cls.names or parts is None:
            return None
        counts, bottleneck = RESNETS[f"resnet{parts['depth']}"]
        stages = tuple(
            tuple(
                _gated(
                    ResidualBlock(place, non_local and (stage, index) in _NON_LOCAL_PLACES),
                    parts["gate"],
                    outputs=(256 if bottleneck else 64) << stage,
                )
                for index, place in enumerate(places)
            )
            for stage, places in enumerate(_places(shift, counts))
        )
        groups = int(parts["groups"] or 1)
        width = groups * int(parts["group_width"] or 64) * int(parts["wider"] or 1)
        stem = (32, 32, 64) if parts["deep"] else (64,)
        return cls(bottleneck, width, stages, temporal_pool, groups=groups, stem=stem)

    def build(self, shift: Shift) -> ResNetFeatures:
        """See `Network`."""
        return ResNetFeatures(self, shift)

    def with_default_shifts(self) -> ResNet:
        """See `Network`."""
        return self.with_shifts("blockres")

    def with_shifts(self, place: ShiftPlace) -> ResNet:
        """See `Network`."""
        places = _places(place, [len(stage) for stage in self.stages])
        stages = (
            tuple(replace(block, shift=where) for block, where in zip(stage, here, strict=True))
            for stage, here in zip(self.stages, places, strict=True)
        )
        return replace(self, stages=tuple(stages))

    def with_non_local(self, mode: NonLocalMode, *, scale: bool) -> ResNet:
        """See `Network`."""
        return replace(self, non_local=replace(self.non_local, mode=mode, scale=scale))

    def _upstream_name(self, name: str) -> str:
        match = re.match(r"^layer(\d)\.(\d+)\.(.+)$", name)
        if not match:
            return _torchvision_name(name).replace("stem.0", "conv1")
        stage, index, rest = int(match[1]), int(match[2]), match[3]
        pool = "net." if self.temporal_pool and stage == 2 else ""
        block = self.stages[stage - 1][index]
        return f"layer{stage}.{pool}{index}.{block.upstream_name(rest)}"


def _gated(block: ResidualBlock, gate: str | None, *, outputs: int) -> ResidualBlock:
    """Return the block with timm's usual gate. Sources: timm, squeeze_excite.py and eca.py."""
    if gate == "se":
        return replace(block, squeeze=max(8, outputs // 16))
    if gate == "eca":
        return replace(block, eca=max(3, (outputs.bit_length() // 2) | 1))
    return block


def _places(place: ShiftPlace, counts: Sequence[int]) -> list[list[ShiftPlace]]:
    """Return where the blocks of each stage are shifted: in deep networks every second one.

    Source: ops/temporal_shift.py, `make_temporal_shift`.
    """
    every = 2 if place == "blockres" and counts[2] >= 23 else 1
    return [["none" if i % every else place for i in range(count)] for count in counts]


def _torchvision_name(name: str) -> str:
    name = name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")
    name = re.sub(r"(?:conv(\d)|stem\.0)\.bn\.", lambda m: f"bn{m[1] or 1}.", name)
    return re.sub(r"(conv\d|stem\.0)\.conv\.", r"\1.", name)


class Shortcut(ConvBN):
    """1x1 convolution of the identity path; tweaked networks average before it, no stride.

    Beyond the last pixel of an odd side there is nothing to average.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, tweaked: bool) -> None:
        super().__init__(inputs, outputs, 1, 1 if tweaked else stride)
        self.pools = tweaked and stride == 2

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        if self.pools:
            odd = any(side % 2 for side in x.shape[2:])
            x = F.avg_pool2d(x, 2, ceil_mode=odd)
        return super().forward(x)


class Residual(nn.Module):
    """Basic (two 3x3) or bottleneck (1x1, 3x3, 1x1) block, (rows, C, H, W) to (rows, C', H', W').

    `block` shifts what both paths see, `blockres` only the convolutions' input.
    """

    def __init__(self, inputs: int, mid: int, stride: int, spec: ResNet) -> None:
        super().__init__()
        self.activation, groups = spec.activation, spec.groups
        self.outputs = mid * 4 * 64 // spec.width if spec.bottleneck else mid
        if spec.bottleneck:
            # SENet's own form strides first, its ResNeXt form does not.
            first, second = (stride, 1) if spec.legacy and groups == 1 else (1, stride)
            self.conv1 = ConvBN(inputs, mid, 1, first, activation=self.activation)
            self.conv2 = ConvBN(mid, mid, 3, second, groups=groups, activation=self.activation)
            self.conv3: nn.Module = ConvBN(mid, self.outputs, 1)
        else:
            self.conv1 = ConvBN(inputs, mid, 3, stride, activation=self.activation)
            self.conv2 = ConvBN(mid, mid, 3)
            self.conv3 = nn.Identity()
        changes = stride != 1 or inputs != self.outputs
        self.downsample: nn.Module = (
            Shortcut(inputs, self.outputs, stride, tweaked=spec.tweaked)
            if changes
            else nn.Identity()
        )
        self.squeeze: nn.Module = nn.Identity()
        self.shift_both: nn.Module = nn.Identity()
        self.shift_residual: nn.Module = nn.Identity()
        self.nl: nn.Module = nn.Identity()

    def equip(self, block: ResidualBlock, shift: Shift, spec: ResNet) -> None:
        """Put shift, channel gate and non-local block in their places."""
        if block.shift == "block":
            self.shift_both = TemporalShift(shift)
        elif block.shift == "blockres":
            self.shift_residual = TemporalShift(shift)
        if block.squeeze:
            self.squeeze = SqueezeExcite(self.outputs, block.squeeze, "sigmoid")
        elif block.eca:
            self.squeeze = ChannelAttention(block.eca)
        if block.non_local:
            self.nl = NonLocalBlock(self.outputs, shift.segments, spec.non_local)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        x = self.shift_both(x)
        y = self.squeeze(self.conv3(self.conv2(self.conv1(self.shift_residual(x)))))
        result: Tensor = self.nl(activate(y + self.downsample(x), self.activation))
        return result


class ResNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T'*N, F)."""

    def __init__(self, spec: ResNet, shift: Shift) -> None:
        super().__init__()
        self.stem = _stem(spec)
        self.pads = not spec.legacy
        self.pool = TemporalPool(shift.segments) if spec.temporal_pool else nn.Identity()
        inputs = 64
        for number, blocks in enumerate(spec.stages):
            here = shift.halved() if spec.temporal_pool and number > 0 else shift
            stage = nn.Sequential()
            for index, block in enumerate(blocks):
                stride = 2 if number > 0 and index == 0 else 1
                residual = Residual(inputs, spec.width << number, stride, spec)
                residual.equip(block, here, spec)
                stage.append(residual)
                inputs = residual.outputs
            self.add_module(f"layer{number + 1}", stage)

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per (remaining) frame."""
        x = F.max_pool2d(
            self.stem(x), 3, stride=2, padding=1 if self.pads else 0, ceil_mode=not self.pads
        )
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            if number == 1:
                x = self.pool(x)
        return x.mean((2, 3))


def _stem(spec: ResNet) -> nn.Sequential:
    if not spec.tweaked:
        return nn.Sequential(ConvBN(3, 64, 7, 2, activation=spec.activation))
    layers, inputs = nn.Sequential(), 3
    for index, outputs in enumerate(spec.stem):
        stride = 1 if index else 2
        layers.append(ConvBN(inputs, outputs, 3, stride, activation=spec.activation))
        inputs = outputs
    return layers
