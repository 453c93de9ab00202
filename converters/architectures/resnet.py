"""ResNet, plain or tweaked, with the shift where the checkpoint had it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.layers import ConvBN, activate
from converters.architectures.networks import Activation, ResidualBlock, ResNet, Shift
from converters.architectures.shift import NonLocalBlock, TemporalPool, TemporalShift


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
