"""Non-local blocks: attention over all positions of all frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NonLocalMode = Literal["embedded_gaussian", "gaussian", "dot_product"]


@dataclass(frozen=True)
class NonLocal:
    """How non-local blocks relate positions; `scale` divides by the root of the inner width.

    `subsample` halves the pictures that are attended to; `out_bias` is upstream's, mmcv has none.
    """

    mode: NonLocalMode = "embedded_gaussian"
    scale: bool = False
    subsample: bool = True
    out_bias: bool = True


class NonLocalBlock(nn.Module):
    """Non-local block over all positions of all frames of a clip, inner width C/2.

    Source: ops/non_local.py, `NONLocalBlock3D` (embedded Gaussian) and mmcv's `NonLocal3d`; their
    1x1x1 3-D convolutions are 1x1 2-D ones here.
    """

    def __init__(self, channels: int, segments: int, spec: NonLocal) -> None:
        super().__init__()
        self.segments, self.spec, inner = segments, spec, channels // 2
        self.g = nn.Conv2d(channels, inner, 1)
        embedded = spec.mode != "gaussian"
        self.theta = nn.Conv2d(channels, inner, 1) if embedded else nn.Identity()
        self.phi = nn.Conv2d(channels, inner, 1) if embedded else nn.Identity()
        self.out = nn.Conv2d(inner, channels, 1, bias=spec.out_bias)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each clip of (T*N, C, H, W), time-major."""
        theta = self._positions(self.theta(x))
        phi = self._positions(self._subsampled(self.phi(x)))
        g = self._positions(self._subsampled(self.g(x)))
        y = self._relate(theta, phi) @ g  # (N, T*H*W, C/2)
        rows, _, height, width = x.shape
        y = y.reshape(-1, self.segments, height, width, g.shape[2])
        y = y.permute(1, 0, 4, 2, 3).reshape(rows, -1, height, width)
        result: Tensor = self.bn(self.out(y)) + x
        return result

    def _relate(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return how much each position attends to each other, (N, T*H*W, T*h*w)."""
        pairs = theta @ phi.transpose(1, 2)
        if self.spec.mode == "dot_product":
            return pairs / pairs.shape[2]
        if self.spec.scale and self.spec.mode == "embedded_gaussian":
            pairs = pairs / theta.shape[2] ** 0.5
        return torch.softmax(pairs, dim=-1)

    def _subsampled(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) if self.spec.subsample else x

    def _positions(self, x: Tensor) -> Tensor:
        """Return (T*N, C, H, W) as (N, T*H*W, C)."""
        rows, channels, height, width = x.shape
        clips = rows // self.segments
        x = x.reshape(self.segments, clips, channels, height, width)
        return x.permute(1, 0, 3, 4, 2).reshape(clips, -1, channels)
