"""What a network is, as plain values: read from a checkpoint's keys, built by the modules here.

Canonical weight names are those of these modules: every convolution with its batch norm is
`NAME.conv.weight`, `NAME.bn.{weight,bias,running_mean,running_var}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

ShiftPlace = Literal["none", "block", "blockres", "stage"]
Direction = Literal["future-past", "past-future", "past"]
DIRECTIONS = get_args(Direction)
Activation = Literal["relu", "relu6", "leaky_relu", "hardswish", "none"]
NonLocalMode = Literal["embedded_gaussian", "gaussian", "dot_product"]
Gate = Literal["none", "sigmoid", "hardsigmoid"]


@dataclass(frozen=True)
class Shift:
    """The temporal shift's arithmetic: T `segments`, 1/`div` of the channels each way.

    future-past (the official code, mmaction2): the first fold takes frame t+1, the second t-1;
    both have C // div channels. past-future (PaddleVideo): the reverse, and the folds end at
    int(C/div) and int(2C/div), so that the second may have a channel more. past (online models):
    one fold takes frame t-1, there is no second.
    """

    segments: int
    div: int
    direction: Direction = "future-past"

    @property
    def online(self) -> bool:
        """Whether frames see the past only, so that they can be answered one at a time."""
        return self.direction == "past"

    def ends(self, channels: int) -> tuple[int, int]:
        """Return the channels at which the first and the second fold end."""
        fold = channels // self.div
        if self.direction != "past-future":
            return fold, fold if self.online else 2 * fold
        ratio = np.float32(1 / self.div)  # the type in Paddle's kernel
        return int(channels * ratio), int(channels * 2 * ratio)

    def halved(self) -> Shift:
        """Return the shift after temporal pooling."""
        return replace(self, segments=self.segments // 2)


@dataclass(frozen=True)
class NonLocal:
    """How non-local blocks relate positions; `scale` divides by the root of the inner width.

    `subsample` halves the pictures that are attended to; `out_bias` is upstream's, mmcv has none.
    """

    mode: NonLocalMode = "embedded_gaussian"
    scale: bool = False
    subsample: bool = True
    out_bias: bool = True


@dataclass(frozen=True)
class ResidualBlock:
    """One ResNet block: where its input is shifted, and whether a non-local block follows."""

    shift: ShiftPlace
    non_local: bool = False


@dataclass(frozen=True)
class ResNet:
    """A ResNet; `width` is the 3x3 convolutions' channel count in the first stage.

    `tweaked` is ResNet-D with LeakyReLU (PP-TSM): three 3x3 convolutions as stem, average pooling
    before the shortcut's convolution.
    """

    bottleneck: bool
    width: int
    stages: tuple[tuple[ResidualBlock, ...], ...]
    temporal_pool: bool = False
    non_local: NonLocal = NonLocal()
    tweaked: bool = False

    @property
    def name(self) -> str:
        """The field's name, by block counts; unusual counts are spelled out."""
        counts = tuple(map(len, self.stages))
        known = {shape: name for name, shape in RESNETS.items()}
        name = known.get((counts, self.bottleneck), f"resnet{list(counts)}")
        wide = f"wide_{name}_{self.width // 64}" if self.width != 64 else name
        return f"{wide}_vd" if self.tweaked else wide

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


@dataclass(frozen=True)
class InvertedResidual:
    """One MobileNet block; `hidden` equals `inputs` where nothing is expanded.

    `squeeze` is the inner width of squeeze-and-excitation, 0 without.
    """

    inputs: int
    hidden: int
    outputs: int
    stride: int
    expand: bool
    shift: bool
    kernel: int = 3
    activation: Activation = "relu6"
    squeeze: int = 0


@dataclass(frozen=True)
class MobileNet:
    """MobileNetV2 or V3; `tail` is the width of V3's layer after pooling, 0 without."""

    name: str
    stem: int
    blocks: tuple[InvertedResidual, ...]
    last: int
    activation: Activation = "relu6"  # of stem, last convolution and tail
    tail: int = 0
    temporal_pool = False
    non_local_blocks = 0

    @property
    def features(self) -> int:
        """Width of what the classifier sees."""
        return self.tail or self.last

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return ["blockres" if block.shift else "none" for block in self.blocks]


@dataclass(frozen=True)
class DepthwiseBlock:
    """One LCNetV2 block: depthwise (its parallel branches `fused` into one), gate, pointwise.

    `split` is the inner width of two pointwise convolutions, 0 for a single one.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    fused: bool
    split: int
    squeeze: int
    shortcut: bool


@dataclass(frozen=True)
class LcNet:
    """PP-LCNetV2 as PP-TSMv2 uses it: one shift, and temporal attention, before the third stage."""

    stem: int
    blocks: tuple[tuple[DepthwiseBlock, ...], ...]  # the stem's own block first, then the stages
    features: int
    attention: bool
    name = "pplcnet_v2"
    temporal_pool = False
    non_local_blocks = 0

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each stage is shifted."""
        return ["none", "none", "stage", "none"]


@dataclass(frozen=True)
class FusedBlock:
    """One MobileOne block, its branches added into one convolution; `squeeze` as elsewhere."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    depthwise: bool
    shift: bool
    squeeze: int


@dataclass(frozen=True)
class MobileOne:
    """MobileOne, re-parameterized: depthwise and pointwise blocks in turn, after a stem."""

    blocks: tuple[FusedBlock, ...]
    name = "mobileone"
    temporal_pool = False
    non_local_blocks = 0

    @property
    def features(self) -> int:
        """Channels after the last block."""
        return self.blocks[-1].outputs

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return ["block" if block.shift else "none" for block in self.blocks]


Network = ResNet | MobileNet | LcNet | MobileOne

# name: (blocks per stage, bottleneck). Source: torchvision, models/resnet.py.
RESNETS: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
# MobileNetV2: (expansion, channels, repeats, stride). Source: upstream's archs/mobilenet_v2.py.
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
MOBILENET_V2_STRIDES = tuple(
    stride if index == 0 else 1
    for _, _, repeats, stride in MOBILENET_V2
    for index in range(repeats)
)


def shift_place(network: Network) -> ShiftPlace:
    """Return where the network is shifted; the networks known here use one place only."""
    return next((place for place in network.shifts if place != "none"), "none")
