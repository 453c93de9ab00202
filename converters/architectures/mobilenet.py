"""MobileNetV2 and V3 with the shift on the expansion's input."""

from __future__ import annotations

from torch import Tensor, nn

from converters.architectures.layers import ConvBN, SqueezeExcite, activate
from converters.architectures.networks import InvertedResidual, MobileNet, Shift
from converters.architectures.shift import TemporalShift


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
            SqueezeExcite(hidden, spec.squeeze, "hardsigmoid") if spec.squeeze else nn.Identity()
        )
        self.project = ConvBN(hidden, spec.outputs, 1)
        self.shortcut = spec.stride == 1 and spec.inputs == spec.outputs

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
        self.tail = nn.Linear(spec.last, spec.tail, bias=False) if spec.tail else None

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.last(self.blocks(self.stem(x))).mean((2, 3))
        if self.tail is None:
            return features
        return activate(self.tail(features), self.activation)
