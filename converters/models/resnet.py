"""ResNet with the shift where the checkpoint had it; parameter names are torchvision's."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from converters.models.shift import NonLocal, TemporalPool, TemporalShift
from converters.recipe import ResidualBlock, ResNet

MakeShift = Callable[[], nn.Module]


class Residual(nn.Module):
    """Basic (two 3x3) or bottleneck (1x1, 3x3, 1x1) block, (rows, C, H, W) to (rows, C', H', W').

    `block` shifts what both paths see, `blockres` only the convolutions' input.
    """

    def __init__(self, inputs: int, mid: int, outputs: int, stride: int, *, bottleneck: bool):
        super().__init__()
        first, last = (1, 1) if bottleneck else (3, 3)
        self.conv1 = _conv(inputs, mid, first, 1 if bottleneck else stride)
        self.bn1 = nn.BatchNorm2d(mid)
        if bottleneck:
            self.conv2, self.bn2 = _conv(mid, mid, 3, stride), nn.BatchNorm2d(mid)
            self.conv3, self.bn3 = _conv(mid, outputs, last, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv2, self.bn2 = _conv(mid, outputs, last, 1), nn.BatchNorm2d(outputs)
        self.bottleneck = bottleneck
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )
        self.shift_both: nn.Module = nn.Identity()
        self.shift_residual: nn.Module = nn.Identity()
        self.nl: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        x = self.shift_both(x)
        y = F.relu(self.bn1(self.conv1(self.shift_residual(x))))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        result: Tensor = self.nl(F.relu(y + self.downsample(x)))
        return result


class ResNetFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T'*N, F)."""

    def __init__(self, spec: ResNet, segments: int, shift_div: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.pool = TemporalPool(segments) if spec.temporal_pool else nn.Identity()
        expansion, inputs = (4 if spec.bottleneck else 1), 64
        for number, blocks in enumerate(spec.stages):
            here = segments // 2 if spec.temporal_pool and number > 0 else segments
            outputs, stage = 64 * 2**number * expansion, nn.Sequential()
            for index, block in enumerate(blocks):
                stride = 2 if number > 0 and index == 0 else 1
                mid = spec.width * 2**number
                residual = Residual(inputs, mid, outputs, stride, bottleneck=spec.bottleneck)
                _equip(residual, block, outputs, here, shift_div)
                stage.append(residual)
                inputs = outputs
            self.add_module(f"layer{number + 1}", stage)

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per (remaining) frame."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            if number == 1:
                x = self.pool(x)
        return x.mean((2, 3))


def _equip(
    residual: Residual, block: ResidualBlock, channels: int, segments: int, div: int
) -> None:
    if block.shift == "block":
        residual.shift_both = TemporalShift(segments, div)
    elif block.shift == "blockres":
        residual.shift_residual = TemporalShift(segments, div)
    if block.non_local:
        residual.nl = NonLocal(channels, segments)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
