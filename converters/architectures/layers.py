"""Layers that several networks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "relu6", "leaky_relu", "hardswish", "silu", "none"]
Gate = Literal["sigmoid", "hardsigmoid", "hardsigmoid_paddle"]
Padding = Literal["symmetric", "same", "late"]
"""Zeros around a strided convolution's input: k // 2 on all sides; as TensorFlow's SAME has them
for the picture at hand; as SAME has them for an even side (one more after it than before)."""


def activate(x: Tensor, name: Activation) -> Tensor:
    """Apply an activation; hardswish in steps, as TensorRT 8.6 has no such ONNX operator."""
    if name == "none":
        return x
    if name == "hardswish":
        return x * F.relu6(x + 3) / 6
    if name == "silu":
        return x * torch.sigmoid(x)
    result: Tensor = getattr(F, name)(x)  # relu, relu6, leaky_relu with slope 0.01
    return result


def _gate(x: Tensor, name: Gate) -> Tensor:
    """Return gates from 0 to 1; a hardsigmoid has slope 1/6, Paddle's 0.2."""
    if name == "sigmoid":
        return torch.sigmoid(x)
    return F.relu6(x + 3) / 6 if name == "hardsigmoid" else torch.clamp(0.2 * x + 0.5, 0, 1)


class ConvBN(nn.Module):
    """Convolution, batch norm, activation on (rows, C, H, W)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: Activation = "none",
    ) -> None:
        super().__init__()
        pad = kernel // 2
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=pad, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation
        self.padding: Padding = "symmetric"

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        return activate(self.bn(self.conv(self._padded(x))), self.activation)

    def _padded(self, x: Tensor) -> Tensor:
        if self.padding == "symmetric":
            return x
        least = self.conv.kernel_size[0] - 2  # zeros that an even side needs at stride 2
        odd = [self.padding == "same" and side % 2 for side in x.shape[:1:-1]]  # width, height
        zeros = [(least // 2 + one, least - least // 2) for one in odd]
        return F.pad(x, (*zeros[0], *zeros[1]))

    def pad(self, padding: Padding) -> None:
        """Pad a convolution of stride 2 so; at stride 1 all ways are the same."""
        self.padding = padding
        if padding != "symmetric":
            self.conv.padding = (0, 0)


@dataclass(frozen=True)
class Habits:
    """What a code base's layers do and their weights do not show.

    `eps` is that of batch norms. `padding` of strided convolutions is symmetric, or TensorFlow's
    SAME: for the picture at hand, or always as for pictures of so many pixels.
    """

    eps: float = 1e-5
    padding: Literal["symmetric", "same"] | int = "symmetric"

    def apply(self, model: nn.Module) -> None:
        """Make a model's layers, which are listed in the order in which they run, do so."""
        side = self.padding
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = self.eps
            elif isinstance(layer, ConvBN) and layer.conv.stride[0] == 2:
                if isinstance(side, int):
                    layer.pad("symmetric" if side % 2 else "late")
                    side = (side + 1) // 2
                else:
                    layer.pad(side)


class SqueezeExcite(nn.Module):
    """Channel gate from the mean over the picture."""

    def __init__(
        self, channels: int, squeezed: int, gate: Gate, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate, self.activation = gate, activation

    def forward(self, x: Tensor) -> Tensor:
        """Gate (rows, C, H, W)."""
        y = activate(self.reduce(x.mean((2, 3), keepdim=True)), self.activation)
        return x * _gate(self.expand(y), self.gate)


class ChannelAttention(nn.Module):
    """ECA: a channel's gate from the means of its neighbors (Wang et al., 2020, ECA-Net)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, (1, kernel), padding=(0, kernel // 2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (rows, C, H, W)."""
        rows, channels = x.shape[:2]
        means = x.mean((2, 3)).reshape(rows, 1, 1, channels)  # a 2-D convolution, for engines
        return x * torch.sigmoid(self.conv(means)).reshape(rows, channels, 1, 1)
