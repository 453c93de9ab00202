"""MobileOne in its re-parameterized form, shifted before every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.base import ShiftedNetwork, ShiftPlace
from converters.architectures.layers import SqueezeExcite
from converters.architectures.shift import Shift, TemporalShift


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
class MobileOne(ShiftedNetwork):
    """MobileOne, re-parameterized: depthwise and pointwise blocks in turn, after a stem."""

    blocks: tuple[FusedBlock, ...]
    family: ClassVar[str] = "mobileone"
    name = "mobileone"

    @property
    def features(self) -> int:
        """Channels after the last block."""
        return self.blocks[-1].outputs

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return ["block" if block.shift else "none" for block in self.blocks]

    def build(self, shift: Shift) -> nn.Module:
        """See `Network`."""
        return MobileOneFeatures(self, shift)


class Fused(nn.Module):
    """Shift, convolution, gate, ReLU. Source: mmpretrain, `MobileOneBlock` after its switch."""

    def __init__(self, spec: FusedBlock, shift: Shift) -> None:
        super().__init__()
        self.shift = TemporalShift(shift) if spec.shift else nn.Identity()
        self.conv = nn.Conv2d(
            spec.inputs,
            spec.outputs,
            spec.kernel,
            spec.stride,
            padding=spec.kernel // 2,
            groups=spec.inputs if spec.depthwise else 1,
        )
        self.squeeze = (
            SqueezeExcite(spec.outputs, spec.squeeze, "sigmoid") if spec.squeeze else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (rows, C, H, W)."""
        return F.relu(self.squeeze(self.conv(self.shift(x))))


class MobileOneFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T*N, F)."""

    def __init__(self, spec: MobileOne, shift: Shift) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Fused(block, shift) for block in spec.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.blocks(x)
        return features.mean((2, 3))
