"""PP-LCNetV2 as PP-TSMv2 uses it: one shift, and attention over frames, before the third stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.base import ShiftedNetwork, ShiftPlace
from converters.architectures.layers import ConvBN, SqueezeExcite
from converters.architectures.shift import Shift, TemporalAttention, TemporalShift


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
class LcNet(ShiftedNetwork):
    """PP-LCNetV2 as PP-TSMv2 uses it: one shift, and temporal attention, before the third stage."""

    stem: int
    blocks: tuple[tuple[DepthwiseBlock, ...], ...]  # the stem's own block first, then the stages
    features: int
    attention: bool
    family: ClassVar[str] = "lcnet"
    name = "pplcnet_v2"

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each stage is shifted."""
        return ["none", "none", "stage", "none"]

    def build(self, shift: Shift) -> nn.Module:
        """See `Network`."""
        return LcNetFeatures(self, shift)


class DepthwiseSeparable(nn.Module):
    """Depthwise, gate, pointwise. Source: PaddleVideo, pptsm_v2.py, `RepDepthwiseSeparable`."""

    def __init__(self, spec: DepthwiseBlock) -> None:
        super().__init__()
        width, kernel, stride = spec.inputs, spec.kernel, spec.stride
        self.depthwise: nn.Module
        if spec.fused:
            pad = kernel // 2
            self.depthwise = nn.Conv2d(width, width, kernel, stride, padding=pad, groups=width)
        else:
            self.depthwise = ConvBN(width, width, kernel, stride, groups=width)
        self.squeeze = (
            SqueezeExcite(width, spec.squeeze, "sigmoid") if spec.squeeze else nn.Identity()
        )
        middle = spec.split or width
        self.pointwise1 = (
            ConvBN(width, middle, 1, activation="relu") if spec.split else nn.Identity()
        )
        self.pointwise = ConvBN(middle, spec.outputs, 1, activation="relu")
        self.shortcut = spec.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (rows, C, H, W)."""
        y: Tensor = self.squeeze(F.relu(self.depthwise(x)))
        y = self.pointwise(self.pointwise1(y))
        return x + y if self.shortcut else y


class LcNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to features (T*N, F)."""

    def __init__(self, spec: LcNet, shift: Shift) -> None:
        super().__init__()
        self.stem = ConvBN(3, spec.stem, 3, 2, activation="relu")
        stages = [nn.Sequential(*map(DepthwiseSeparable, blocks)) for blocks in spec.blocks]
        self.stages = nn.ModuleList(stages)
        self.attention = TemporalAttention(shift.segments) if spec.attention else nn.Identity()
        self.shift = TemporalShift(shift)
        self.last = nn.Linear(spec.blocks[-1][-1].outputs, spec.features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            if number == 3:  # the stem's own block, two stages, then the third
                x = self.shift(self.attention(x))
            x = stage(x)
        return F.relu(self.last(x.mean((2, 3))))
