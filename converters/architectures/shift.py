"""The temporal shift, as plain values and as a layer, and other layers that look along time.

Inside a network frames are **time-major**: (T*N, C, H, W) with index `t*N + n`. A shift by one
frame is then a shift by N rows whatever the batch: slice, pad, concatenate on a 4-D tensor, with no
reshape that would break an engine's blocked layout and no zero constant that a quantizer would have
to give a range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Direction = Literal["future-past", "past-future", "past"]
DIRECTIONS = get_args(Direction)


@dataclass(frozen=True)
class Shift:
    """The temporal shift's arithmetic: T `segments`, 1/`div` of the channels each way.

    future-past (the official code, mmaction2): the first fold takes frame t+1, the second t-1;
    both have C // div channels. past-future (PaddleVideo): the reverse, and the folds end at
    int(C/div) and int(2C/div), so that the second may have a channel more. past (online models):
    one fold takes frame t-1, there is no second.
    """

    segments: int
    div: int
    direction: Direction = "future-past"

    @property
    def online(self) -> bool:
        """Whether frames see the past only, so that they can be answered one at a time."""
        return self.direction == "past"

    def ends(self, channels: int) -> tuple[int, int]:
        """Return the channels at which the first and the second fold end."""
        fold = channels // self.div
        if self.direction != "past-future":
            return fold, fold if self.online else 2 * fold
        ratio = np.float32(1 / self.div)  # the type in Paddle's kernel
        return int(channels * ratio), int(channels * 2 * ratio)

    def halved(self) -> Shift:
        """Return the shift after temporal pooling."""
        return replace(self, segments=self.segments // 2)


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
