"""The temporal shift, and the other layers that look along time.

Inside a network frames are **time-major**: (T*N, C, H, W) with index `t*N + n`. A shift by one
frame is then a shift by N rows whatever the batch: slice, pad, concatenate on a 4-D tensor, with no
reshape that would break an engine's blocked layout and no zero constant that a quantizer would have
to give a range.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.networks import NonLocal, Shift


class TemporalShift(nn.Module):
    """Shift with zeros beyond both ends; `Shift` says which channels go which way.

    Sources: mit-han-lab/temporal-shift-module, ops/temporal_shift.py and, from the past only,
    online_demo/mobilenet_v2_tsm.py; Paddle's temporal_shift.
    """

    def __init__(self, shift: Shift) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """Shift (T*N, C, H, W), time-major."""
        clips = x.shape[0] // self.shift.segments
        first, second = self.shift.ends(x.shape[1])
        if second == 0:  # fewer channels than the divisor, as in a picture's three
            return x
        if self.shift.online:
            return torch.cat((_from_previous(x[:, :first], clips), x[:, first:]), dim=1)
        folds = (x[:, :first], x[:, first:second])
        if self.shift.direction == "future-past":
            moved = (_from_next(folds[0], clips), _from_previous(folds[1], clips))
        else:
            moved = (_from_previous(folds[0], clips), _from_next(folds[1], clips))
        return torch.cat((*moved, x[:, second:]), dim=1)


def _from_next(x: Tensor, clips: int) -> Tensor:
    """Give every frame its successor's channels."""
    return F.pad(x[clips:], (0, 0, 0, 0, 0, 0, 0, clips))


def _from_previous(x: Tensor, clips: int) -> Tensor:
    """Give every frame its predecessor's channels."""
    return F.pad(x[:-clips], (0, 0, 0, 0, 0, 0, clips, 0))


class TemporalPool(nn.Module):
    """Max over three neighboring frames, every second one kept: T becomes T/2.

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


class TemporalAttention(nn.Module):
    """Weighs the frames of a clip against each other (PP-TSMv2's lightweight attention)."""

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.fc = nn.Linear(segments, segments)
        self.segments = segments

    def forward(self, x: Tensor) -> Tensor:
        """Weigh (T*N, C, H, W), time-major."""
        means = x.mean((1, 2, 3)).reshape(self.segments, -1)  # (T, N)
        weights = torch.sigmoid(self.fc(means.transpose(0, 1))).transpose(0, 1)
        return x * weights.reshape(-1, 1, 1, 1)


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
