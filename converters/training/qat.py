"""Quantization-aware training: convolutions compute as their int8 twins will, weights adapt.

Rounding is simulated (Jacob et al. 2018) as `quantize` will do it: weights symmetric with a scale
per output channel, which folding batch norm into them does not change, and activations asymmetric
with one range per tensor. The names and values in the state dict stay those of the float network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOMENTUM = 0.01  # of activation ranges; the first batch sets them


class _Range(nn.Module):
    """The range of a layer's input, observed in training, and rounding by it."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()), persistent=False)
        self.register_buffer("high", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` rounded to 256 levels."""
        x = x.float()
        if self.training:
            self._observe(x.detach())
        # Zero stays exact: padding and the shift's empty frames are zeros.
        low, high = self.low.clamp(max=0), self.high.clamp(min=0)
        scale = ((high - low) / 255).clamp(min=1e-8)
        zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)

    def _observe(self, x: Tensor) -> None:
        share = MOMENTUM if bool(self.high > self.low) else 1.0
        self.low += share * (x.amin() - self.low)
        self.high += share * (x.amax() - self.high)


def _rounded(weight: Tensor) -> Tensor:
    """Return a weight rounded to 255 levels per output channel."""
    weight = weight.float()
    scale = (weight.detach().flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


class _Int8Conv2d(nn.Conv2d):
    range: _Range

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._conv_forward(self.range(x), _rounded(self.weight), self.bias)
        return result


class _Int8Linear(nn.Linear):
    range: _Range

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.range(x), _rounded(self.weight), self.bias)


_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _Int8Conv2d,
    nn.Linear: _Int8Linear,
}


def simulate_int8(model: nn.Module) -> None:
    """Let every convolution and linear layer of `model` compute as in int8 from now on.

    Ranges of activations are observed in training mode: run a batch before the first evaluation.
    """
    for module in list(model.modules()):
        twin = _TWINS.get(type(module))
        if twin is not None:
            module.__class__ = twin
            module.range = _Range().to(next(module.parameters()).device)


def simulates_int8(model: nn.Module) -> bool:
    """Return whether `simulate_int8` has changed `model`."""
    return any(isinstance(module, _Range) for module in model.modules())
