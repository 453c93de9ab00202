"""ResNet, plain or tweaked, with the shift where the checkpoint had it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.base import Namer, ShiftedNetwork, ShiftPlace
from converters.architectures.layers import Activation, ConvBN, activate
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
# Stage and block, from 0, that non-local blocks follow. Source: ops/non_local.py, `make_non_local`.
_NON_LOCAL_PLACES = {(1, 0), (1, 2), (2, 0), (2, 2), (2, 4)}
UPSTREAM_NON_LOCAL = {"g.0": "g", "phi.0": "phi", "theta": "theta", "W.0": "out", "W.1": "bn"}
"""Layers of a non-local block by upstream's names."""


@dataclass(frozen=True)
class ResidualBlock:
    """One ResNet block: where its input is shifted, and whether a non-local block follows."""

    shift: ShiftPlace
    non_local: bool = False

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

    `tweaked` is ResNet-D with LeakyReLU (PP-TSM): three 3x3 convolutions as stem, average pooling
    before the shortcut's convolution.
    """

    bottleneck: bool
    width: int
    stages: tuple[tuple[ResidualBlock, ...], ...]
    temporal_pool: bool = False
    non_local: NonLocal = field(default_factory=NonLocal)
    tweaked: bool = False
    family: ClassVar[str] = "resnet"
    names: ClassVar[tuple[str, ...]] = tuple(RESNETS)

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

    @property
    def non_local_mode(self) -> NonLocalMode | None:
        """See `Network`."""
        return self.non_local.mode if self.non_local_blocks else None

    @property
    def upstream_namer(self) -> Namer | None:
        """See `Network`."""
        return None if self.tweaked else self._upstream_name

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> ResNet | None:
        """See `Network`."""
        if name not in RESNETS:
            return None
        counts, bottleneck = RESNETS[name]
        stages = tuple(
            tuple(
                ResidualBlock(place, non_local and (stage, index) in _NON_LOCAL_PLACES)
                for index, place in enumerate(places)
            )
            for stage, places in enumerate(_places(shift, counts))
        )
        return cls(bottleneck, 64, stages, temporal_pool)

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
    """1x1 convolution of the identity path; tweaked networks average before it, no stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, tweaked: bool) -> None:
        super().__init__(inputs, outputs, 1, 1 if tweaked else stride)
        pools = tweaked and stride == 2
        self.pool: nn.Module = nn.AvgPool2d(2) if pools else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        return super().forward(self.pool(x))


class Residual(nn.Module):
    """Basic (two 3x3) or bottleneck (1x1, 3x3, 1x1) block, (rows, C, H, W) to (rows, C', H', W').

    `block` shifts what both paths see, `blockres` only the convolutions' input.
    """

    def __init__(self, inputs: int, mid: int, stride: int, spec: ResNet) -> None:
        super().__init__()
        self.activation: Activation = "leaky_relu" if spec.tweaked else "relu"
        self.outputs = mid * 4 * 64 // spec.width if spec.bottleneck else mid
        if spec.bottleneck:
            self.conv1 = ConvBN(inputs, mid, 1, activation=self.activation)
            self.conv2 = ConvBN(mid, mid, 3, stride, activation=self.activation)
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
        self.shift_both: nn.Module = nn.Identity()
        self.shift_residual: nn.Module = nn.Identity()
        self.nl: nn.Module = nn.Identity()

    def equip(self, block: ResidualBlock, shift: Shift, spec: ResNet) -> None:
        """Put shift and non-local block in their places."""
        if block.shift == "block":
            self.shift_both = TemporalShift(shift)
        elif block.shift == "blockres":
            self.shift_residual = TemporalShift(shift)
        if block.non_local:
            self.nl = NonLocalBlock(self.outputs, shift.segments, spec.non_local)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        x = self.shift_both(x)
        y = self.conv3(self.conv2(self.conv1(self.shift_residual(x))))
        result: Tensor = self.nl(activate(y + self.downsample(x), self.activation))
        return result


class ResNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T'*N, F)."""

    def __init__(self, spec: ResNet, shift: Shift) -> None:
        super().__init__()
        self.stem = _stem(tweaked=spec.tweaked)
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
        x = F.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            if number == 1:
                x = self.pool(x)
        return x.mean((2, 3))


def _stem(*, tweaked: bool) -> nn.Sequential:
    if not tweaked:
        return nn.Sequential(ConvBN(3, 64, 7, 2, activation="relu"))
    return nn.Sequential(
        ConvBN(3, 32, 3, 2, activation="leaky_relu"),
        ConvBN(32, 32, 3, activation="leaky_relu"),
        ConvBN(32, 64, 3, activation="leaky_relu"),
    )
