"""MobileNetV2 with the shift on the expansion's input; parameter names are upstream's."""

from __future__ import annotations

from torch import Tensor, nn

from converters.models.shift import TemporalShift
from converters.recipe import InvertedResidual, MobileNetV2


class InvertedBlock(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; with a shortcut where shapes allow it.

    Source: mit-han-lab/temporal-shift-module, archs/mobilenet_v2.py.
    """

    def __init__(self, spec: InvertedResidual, segments: int, shift_div: int) -> None:
        super().__init__()
        expand = [*_conv_bn(spec.inputs, spec.hidden, 1), nn.ReLU6()] if spec.expand else []
        self.conv = nn.Sequential(
            *expand,
            *_conv_bn(spec.hidden, spec.hidden, 3, spec.stride, groups=spec.hidden),
            nn.ReLU6(),
            *_conv_bn(spec.hidden, spec.outputs, 1),
        )
        self.shift = TemporalShift(segments, shift_div) if spec.shift else nn.Identity()
        self.shortcut = spec.stride == 1 and spec.inputs == spec.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (rows, C, H, W)."""
        y: Tensor = self.conv(self.shift(x))
        return x + y if self.shortcut else y


class MobileNetV2Features(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T*N, F)."""

    def __init__(self, spec: MobileNetV2, segments: int, shift_div: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(*_conv_bn(3, spec.stem, 3, 2), nn.ReLU6()),
            *(InvertedBlock(block, segments, shift_div) for block in spec.blocks),
            nn.Sequential(*_conv_bn(spec.blocks[-1].outputs, spec.features, 1), nn.ReLU6()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.features(x)
        return features.mean((2, 3))


def _conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return conv, nn.BatchNorm2d(outputs)
