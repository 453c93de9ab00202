"""The temporal shift, and the other layers that look along time.

Inside a network frames are **time-major**: (T*N, C, H, W) with index `t*N + n`. A shift by one
frame is then a shift by N rows whatever the batch: slice, pad, concatenate on a 4-D tensor, with no
reshape that would break an engine's blocked layout and no zero constant that a quantiser would have
to give a range.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TemporalShift(nn.Module):
    """Bidirectional shift: channels [0, C/div) take frame t+1, [C/div, 2C/div) take t-1.

    Zeros beyond both ends. Source: mit-han-lab/temporal-shift-module, ops/temporal_shift.py.
    """

    def __init__(self, segments: int, div: int) -> None:
        super().__init__()
        self.segments, self.div = segments, div

    def forward(self, x: Tensor) -> Tensor:
        """Shift (T*N, C, H, W), time-major."""
        clips, fold = x.shape[0] // self.segments, x.shape[1] // self.div
        future = F.pad(x[clips:, :fold], (0, 0, 0, 0, 0, 0, 0, clips))
        past = F.pad(x[:-clips, fold : 2 * fold], (0, 0, 0, 0, 0, 0, clips, 0))
        return torch.cat((future, past, x[:, 2 * fold :]), dim=1)


class TemporalPool(nn.Module):
    """Max over three neighbouring frames, every second one kept: T becomes T/2.

    Source: ops/temporal_shift.py, `TemporalPool` (max_pool3d, kernel (3,1,1), stride (2,1,1)).
    """

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.segments = segments

    def forward(self, x: Tensor) -> Tensor:
        """Pool (T*N, C, H, W) to (T/2*N, C, H, W), time-major."""
        rows, channels, height, width = x.shape
        # Everything that is not time becomes one axis, so that a 2-D pool can slide along time.
        flat = x.reshape(1, 1, self.segments, -1)
        pooled = F.max_pool2d(flat, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0))
        return pooled.reshape(rows // 2, channels, height, width)


class NonLocal(nn.Module):
    """Embedded-Gaussian non-local block over all positions of all frames of a clip.

    Source: ops/non_local.py, `NONLocalBlock3D` (sub-sampled by 2 in space, inner width C/2); its
    1x1x1 3-D convolutions are 1x1 2-D ones here.
    """

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.segments, inner = segments, channels // 2
        self.g = nn.Conv2d(channels, inner, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each clip of (T*N, C, H, W), time-major."""
        theta = self._positions(self.theta(x))
        phi = self._positions(F.max_pool2d(self.phi(x), 2))
        g = self._positions(F.max_pool2d(self.g(x), 2))
        attention = torch.softmax(theta @ phi.transpose(1, 2), dim=-1)  # (N, T*H*W, T*h*w)
        rows, _, height, width = x.shape
        y = (attention @ g).reshape(-1, self.segments, height, width, g.shape[2])
        y = y.permute(1, 0, 4, 2, 3).reshape(rows, -1, height, width)
        result: Tensor = self.bn(self.out(y)) + x
        return result

    def _positions(self, x: Tensor) -> Tensor:
        """Return (T*N, C, H, W) as (N, T*H*W, C)."""
        rows, channels, height, width = x.shape
        clips = rows // self.segments
        x = x.reshape(self.segments, clips, channels, height, width)
        return x.permute(1, 0, 3, 4, 2).reshape(clips, -1, channels)
