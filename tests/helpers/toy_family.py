"""A network family in one file, as small as one can be: a stem, a shift, a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from converters.architectures.base import ShiftedNetwork, ShiftPlace
from converters.architectures.layers import ConvBN
from converters.architectures.shift import Shift, TemporalShift


@dataclass(frozen=True)
class Toy(ShiftedNetwork):
    width: int
    family: ClassVar[str] = "toy"
    names: ClassVar[tuple[str, ...]] = ("toynet",)
    name = "toynet"

    @property
    def features(self) -> int:
        return self.width

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        return ["none", "blockres"]

    @classmethod
    def named(cls, name: str, **_: object) -> Toy | None:
        return cls(width=8) if name in cls.names else None

    def build(self, shift: Shift) -> nn.Module:
        return ToyFeatures(self, shift)


class ToyFeatures(nn.Module):
    def __init__(self, spec: Toy, shift: Shift) -> None:
        super().__init__()
        self.stem = ConvBN(3, spec.width, 7, 8, activation="relu")
        self.shift = TemporalShift(shift)
        self.conv = ConvBN(spec.width, spec.width, 3, 2, activation="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.shift(self.stem(x))).mean((2, 3))
