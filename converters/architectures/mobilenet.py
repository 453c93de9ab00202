"""MobileNetV2 and V3 with the shift on the expansion's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from converters.architectures.base import Namer, ShiftedNetwork, ShiftPlace
from converters.architectures.layers import (
    Activation,
    ConvBN,
    Gate,
    Habits,
    SqueezeExcite,
    activate,
)
from converters.architectures.shift import Shift, TemporalShift

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
MOBILENET_V2_FIRSTS = tuple(
    sum(repeats for _, _, repeats, _ in MOBILENET_V2[:stage]) for stage in range(len(MOBILENET_V2))
)
"""The number of each stage's first block, counted through."""
# Layers of an inverted residual by their index in upstream's `conv`, with and without expansion.
UPSTREAM_EXPANDED = {
    0: "expand.conv",
    1: "expand.bn",
    3: "depthwise.conv",
    4: "depthwise.bn",
    6: "project.conv",
    7: "project.bn",
}
UPSTREAM_PLAIN = {0: "depthwise.conv", 1: "depthwise.bn", 3: "project.conv", 4: "project.bn"}


@dataclass(frozen=True)
class V3Form:
    """What MobileNetV3's weights do not show, and what tells it from networks of other searches.

    Blocks by number: `halving` have stride 2, `gated` squeeze-and-excitation, `wide` 5x5
    kernels; those from `first_hardswish` on have hardswish, the others ReLU. The widths are those
    of the paper, `tail` that of the layer after pooling.
    """

    name: str
    hidden: tuple[int, ...]
    outputs: tuple[int, ...]
    tail: int
    halving: frozenset[int]
    gated: frozenset[int]
    wide: frozenset[int]
    first_hardswish: int


# By block count. Source: Howard et al., 2019, "Searching for MobileNetV3", tables 1 and 2.
MOBILENET_V3_FORMS = {
    15: V3Form(
        "mobilenetv3_large",
        hidden=(16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960),
        outputs=(16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160),
        tail=1280,
        halving=frozenset({1, 3, 6, 12}),
        gated=frozenset({3, 4, 5, *range(10, 15)}),
        wide=frozenset({3, 4, 5, 12, 13, 14}),
        first_hardswish=6,
    ),
    11: V3Form(
        "mobilenetv3_small",
        hidden=(16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576),
        outputs=(16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96),
        tail=1024,
        halving=frozenset({0, 1, 3, 8}),
        gated=frozenset({0, *range(3, 11)}),
        wide=frozenset(range(3, 11)),
        first_hardswish=3,
    ),
}
TORCH = Habits()
TENSORFLOW = Habits(eps=1e-3, padding="same")
"""What weights that were converted from TensorFlow need (timm's `tf_` networks)."""


@dataclass(frozen=True)
class InvertedResidual:
    """One MobileNet block; `hidden` equals `inputs` where nothing is expanded.

    `squeeze` is the inner width of squeeze-and-excitation, 0 without; `gate` ends it, and
    `squeeze_activation` follows its inner layer.
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
    gate: Gate = "hardsigmoid"
    squeeze_activation: Activation = "relu"

    @property
    def shortcut(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.inputs == self.outputs

    def upstream_name(self, name: str) -> str:
        """Return upstream's name of a weight within the block."""
        layer, _, kind = name.rpartition(".")
        layers = UPSTREAM_EXPANDED if self.expand else UPSTREAM_PLAIN
        number = next(number for number, ours in layers.items() if ours == layer)
        net = ".net" if self.shift and layer == "expand.conv" else ""
        return f"conv.{number}{net}.{kind}"


@dataclass(frozen=True)
class MobileNet(ShiftedNetwork):
    """MobileNetV2 or V3; `tail` is the width of V3's layer after pooling, 0 without.

    It is `ambiguous` where names and weights do not tell which of its `variants` it is.
    """

    name: str
    stem: int
    blocks: tuple[InvertedResidual, ...]
    last: int
    activation: Activation = "relu6"  # of stem, last convolution and tail
    tail: int = 0
    tail_bias: bool = False
    habits: Habits = TORCH
    ambiguous: bool = False
    family: ClassVar[str] = "mobilenet"
    names: ClassVar[tuple[str, ...]] = ("mobilenetv2", "mobilenetv3_large", "mobilenetv3_small")

    @property
    def features(self) -> int:
        """Width of what the classifier sees."""
        return self.tail or self.last

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block is shifted."""
        return ["blockres" if block.shift else "none" for block in self.blocks]

    @property
    def variants(self) -> Mapping[str, MobileNet]:
        """See `Network`: timm's own network, and the one with TensorFlow's habits."""
        if not self.ambiguous:
            return {}
        plain = replace(self, ambiguous=False)
        tensorflow = replace(plain, name=f"tf_{self.name}", habits=TENSORFLOW)
        return {network.name: network for network in (plain, tensorflow)}

    @property
    def upstream_namer(self) -> Namer | None:
        """See `Network`."""
        return self._upstream_name if self.name == "mobilenetv2" else None

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> MobileNet | None:
        """See `Network`; upstream puts neither non-local blocks nor temporal pooling here."""
        if name not in cls.names:
            return None
        network = mobilenet_v2(shift=False) if name == "mobilenetv2" else mobilenet_v3(name)
        return network if shift == "none" else network.with_default_shifts()

    def build(self, shift: Shift) -> MobileNetFeatures:
        """See `Network`."""
        features = MobileNetFeatures(self, shift)
        self.habits.apply(features)
        return features

    def with_default_shifts(self) -> MobileNet:
        """See `Network`. Source: online_demo/mobilenet_v2_tsm.py."""
        blocks = (replace(block, shift=block.expand and block.shortcut) for block in self.blocks)
        return replace(self, blocks=tuple(blocks))

    def _upstream_name(self, name: str) -> str:
        part, _, rest = name.partition(".")
        if part != "blocks":
            layer, _, kind = rest.partition(".")
            return f"features.{0 if part == 'stem' else 18}.{0 if layer == 'conv' else 1}.{kind}"
        index, _, rest = rest.partition(".")
        return f"features.{int(index) + 1}.{self.blocks[int(index)].upstream_name(rest)}"


def mobilenet_v2(*, shift: bool = True, width: float = 1.0, last: int = 1280) -> MobileNet:
    """Return a MobileNetV2 whose channels are `width` times the usual, in steps of eight.

    Source: upstream's archs/mobilenet_v2.py (`make_divisible`). `last` is the
    width before the head.
    """
    inputs = stem = _divisible(32 * width)
    blocks = []
    for expansion, usual, repeats, first_stride in MOBILENET_V2:
        channels = _divisible(usual * width)
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            shifted = shift and stride == 1 and inputs == channels and expansion > 1
            hidden = inputs * expansion
            blocks.append(
                InvertedResidual(inputs, hidden, channels, stride, expansion > 1, shifted)
            )
            inputs = channels
    return MobileNet("mobilenetv2", stem, tuple(blocks), last)


def mobilenet_v3(name: str) -> MobileNet:
    """Return a MobileNetV3 without shifts, as torchvision builds it."""
    form = next(form for form in MOBILENET_V3_FORMS.values() if form.name == name)
    blocks, inputs = [], 16
    for number, (hidden, outputs) in enumerate(zip(form.hidden, form.outputs, strict=True)):
        blocks.append(
            InvertedResidual(
                inputs,
                hidden,
                outputs,
                stride=2 if number in form.halving else 1,
                expand=hidden != inputs,
                shift=False,
                kernel=5 if number in form.wide else 3,
                activation="relu" if number < form.first_hardswish else "hardswish",
                squeeze=scaled(hidden, 1 / 4) if number in form.gated else 0,
            )
        )
        inputs = outputs
    last, habits = form.hidden[-1], Habits(eps=1e-3)
    return MobileNet(
        name, 16, tuple(blocks), last, "hardswish", form.tail, tail_bias=True, habits=habits
    )


def scaled(channels: int, factor: float) -> int:
    """Return a scaled width in steps of eight, which rounding lowers by a tenth at most."""
    steps = _divisible(channels * factor)
    return steps + 8 if steps < 0.9 * channels * factor else steps


def _divisible(channels: float) -> int:
    return max(8, int(channels + 4) // 8 * 8)


class InvertedBlock(nn.Module):
    """Expand 1x1, depthwise, gate, project 1x1; with a shortcut where shapes allow it.

    Sources: mit-han-lab/temporal-shift-module, archs/mobilenet_v2.py; PaddleVideo, pptsm_mv3.py.
    """

    def __init__(self, spec: InvertedResidual, shift: Shift) -> None:
        super().__init__()
        hidden, act = spec.hidden, spec.activation
        self.shift = TemporalShift(shift) if spec.shift else nn.Identity()
        self.expand = (
            ConvBN(spec.inputs, hidden, 1, activation=act) if spec.expand else nn.Identity()
        )
        self.depthwise = ConvBN(
            hidden, hidden, spec.kernel, spec.stride, groups=hidden, activation=act
        )
        self.squeeze = (
            SqueezeExcite(hidden, spec.squeeze, spec.gate, spec.squeeze_activation)
            if spec.squeeze
            else nn.Identity()
        )
        self.project = ConvBN(hidden, spec.outputs, 1)
        self.shortcut = spec.shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (rows, C, H, W)."""
        y: Tensor = self.project(self.squeeze(self.depthwise(self.expand(self.shift(x)))))
        return x + y if self.shortcut else y


class MobileNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to features (T*N, F)."""

    def __init__(self, spec: MobileNet, shift: Shift) -> None:
        super().__init__()
        self.activation = spec.activation
        self.stem = ConvBN(3, spec.stem, 3, 2, activation=spec.activation)
        self.blocks = nn.Sequential(*(InvertedBlock(block, shift) for block in spec.blocks))
        self.last = ConvBN(spec.blocks[-1].outputs, spec.last, 1, activation=spec.activation)
        self.tail = nn.Linear(spec.last, spec.tail, bias=spec.tail_bias) if spec.tail else None

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.last(self.blocks(self.stem(x))).mean((2, 3))
        if self.tail is None:
            return features
        return activate(self.tail(features), self.activation)
