"""RegNet X and Y: blocks of one width with grouped convolutions, shifted as in ResNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.base import ShiftedNetwork, ShiftPlace
from converters.architectures.layers import ConvBN, SqueezeExcite
from converters.architectures.shift import Shift, TemporalShift

# name: (blocks per stage, widths, channels per group). Sources: torchvision, models/regnet.py, and
# timm, models/regnet.py, for the two of its networks that are others than torchvision's.
REGNETS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "regnet_x_400mf": ((1, 2, 7, 12), (32, 64, 160, 400), 16),
    "regnet_x_800mf": ((1, 3, 7, 5), (64, 128, 288, 672), 16),
    "regnet_x_1_6gf": ((2, 4, 10, 2), (72, 168, 408, 912), 24),
    "regnet_x_3_2gf": ((2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "regnet_y_400mf": ((1, 3, 6, 6), (48, 104, 208, 440), 8),
    "regnet_y_800mf": ((1, 3, 8, 2), (64, 144, 320, 784), 16),
    "regnet_y_1_6gf": ((2, 6, 17, 2), (48, 120, 336, 888), 24),
    "regnetx_004": ((1, 2, 7, 12), (32, 64, 160, 384), 16),
    "regnety_008": ((1, 3, 8, 2), (64, 128, 320, 768), 16),
    "regnet_y_3_2gf": ((2, 5, 13, 1), (72, 216, 576, 1512), 24),
}
_STEM = 32


@dataclass(frozen=True)
class GroupedBlock:
    """One RegNet block; `squeeze` is the inner width of squeeze-and-excitation, 0 without."""

    inputs: int
    outputs: int
    stride: int
    groups: int
    squeeze: int
    shift: ShiftPlace = "none"


@dataclass(frozen=True)
class RegNet(ShiftedNetwork):
    """A RegNet X (without squeeze-and-excitation) or Y."""

    name: str
    stages: tuple[tuple[GroupedBlock, ...], ...]
    family: ClassVar[str] = "regnet"
    names: ClassVar[tuple[str, ...]] = tuple(REGNETS)

    @property
    def features(self) -> int:
        """Channels after the last stage."""
        return self.stages[-1][-1].outputs

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return [block.shift for stage in self.stages for block in stage]

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> RegNet | None:
        """See `Network`; a shift goes into every block."""
        return regnet(name).with_shifts(shift) if name in REGNETS else None

    def with_shifts(self, place: ShiftPlace) -> RegNet:
        """Return the network with every block shifted so."""
        stages = (tuple(replace(block, shift=place) for block in stage) for stage in self.stages)
        return replace(self, stages=tuple(stages))

    def build(self, shift: Shift) -> nn.Module:
        """See `Network`."""
        return RegNetFeatures(self, shift)

    def with_default_shifts(self) -> RegNet:
        """See `Network`."""
        return self.with_shifts("blockres")


def regnet(name: str) -> RegNet:
    """Return a RegNet of `REGNETS` without shifts."""
    counts, widths, group = REGNETS[name]
    stages, inputs = [], _STEM
    for count, width in zip(counts, widths, strict=True):
        blocks = []
        for index in range(count):
            squeeze = round(inputs / 4) if "y_" in name or name.startswith("regnety") else 0
            blocks.append(GroupedBlock(inputs, width, 1 if index else 2, width // group, squeeze))
            inputs = width
        stages.append(tuple(blocks))
    return RegNet(name, tuple(stages))


class Grouped(nn.Module):
    """1x1, grouped 3x3, gate, 1x1, with a shortcut; (rows, C, H, W) to (rows, C', H', W').

    `block` shifts what both paths see, `blockres` only the convolutions' input.
    """

    def __init__(self, spec: GroupedBlock, shift: Shift) -> None:
        super().__init__()
        width = spec.outputs
        shifts = {spec.shift: TemporalShift(shift)}
        self.shift_both = shifts.get("block", nn.Identity())
        self.shift_residual = shifts.get("blockres", nn.Identity())
        self.a = ConvBN(spec.inputs, width, 1, activation="relu")
        self.b = ConvBN(width, width, 3, spec.stride, groups=spec.groups, activation="relu")
        self.squeeze = (
            SqueezeExcite(width, spec.squeeze, "sigmoid") if spec.squeeze else nn.Identity()
        )
        self.c = ConvBN(width, width, 1)
        changes = spec.stride != 1 or spec.inputs != width
        self.shortcut = ConvBN(spec.inputs, width, 1, spec.stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        x = self.shift_both(x)
        y = self.c(self.squeeze(self.b(self.a(self.shift_residual(x)))))
        return F.relu(y + self.shortcut(x))


class RegNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T*N, F)."""

    def __init__(self, spec: RegNet, shift: Shift) -> None:
        super().__init__()
        self.stem = ConvBN(3, _STEM, 3, 2, activation="relu")
        stages = (nn.Sequential(*(Grouped(block, shift) for block in s)) for s in spec.stages)
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.stages(self.stem(x))
        return features.mean((2, 3))
