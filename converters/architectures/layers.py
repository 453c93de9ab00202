"""Layers that several networks share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "relu6", "leaky_relu", "hardswish", "none"]
Gate = Literal["sigmoid", "hardsigmoid"]


def activate(x: Tensor, name: Activation) -> Tensor:
    """Apply an activation; hardswish in steps, as TensorRT 8.6 has no such ONNX operator."""
    if name == "none":
        return x
    if name == "hardswish":
        return x * F.relu6(x + 3) / 6
    result: Tensor = getattr(F, name)(x)  # relu, relu6, leaky_relu with slope 0.01
    return result


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

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        return activate(self.bn(self.conv(x)), self.activation)


class SqueezeExcite(nn.Module):
    """Channel gate from the mean over the picture. Paddle's hardsigmoid has slope 0.2."""

    def __init__(self, channels: int, squeezed: int, gate: Gate) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Gate (rows, C, H, W)."""
        y = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        if self.gate == "sigmoid":
            return x * torch.sigmoid(y)
        return x * torch.clamp(0.2 * y + 0.5, 0, 1)
