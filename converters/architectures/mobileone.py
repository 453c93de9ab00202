"""MobileOne in its re-parameterized form, shifted before every block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.layers import SqueezeExcite
from converters.architectures.networks import FusedBlock, MobileOne, Shift
from converters.architectures.shift import TemporalShift


class Fused(nn.Module):
    """Shift, convolution, gate, ReLU. Source: mmpretrain, `MobileOneBlock` after its switch."""

    def __init__(self, spec: FusedBlock, shift: Shift) -> None:
        super().__init__()
        self.shift = TemporalShift(shift) if spec.shift else nn.Identity()
        self.conv = nn.Conv2d(
            spec.inputs,
            spec.outputs,
            spec.kernel,
            spec.stride,
            padding=spec.kernel // 2,
            groups=spec.inputs if spec.depthwise else 1,
        )
        self.squeeze = (
            SqueezeExcite(spec.outputs, spec.squeeze, "sigmoid") if spec.squeeze else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (rows, C, H, W)."""
        return F.relu(self.squeeze(self.conv(self.shift(x))))


class MobileOneFeatures(nn.Module):
    """(T*N, 3, H, W) time-major to pooled features (T*N, F)."""

    def __init__(self, spec: MobileOne, shift: Shift) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Fused(block, shift) for block in spec.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame."""
        features: Tensor = self.blocks(x)
        return features.mean((2, 3))
