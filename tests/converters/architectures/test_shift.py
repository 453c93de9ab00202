"""The layers that look along time, against upstream's formulation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from converters.architectures.non_local import NonLocal, NonLocalBlock
from converters.architectures.shift import Shift, TemporalPool, TemporalShift
from tests.helpers import upstream


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("segments", [2, 8, 16])
@pytest.mark.parametrize("channels", [24, 64, 20])
def test_shift_is_upstreams(clips: int, segments: int, channels: int) -> None:
    x = torch.randn(clips * segments, channels, 5, 4, generator=torch.Generator().manual_seed(0))
    ours = TemporalShift(Shift(segments, 8))(upstream.time_major(x, clips))
    assert torch.equal(ours, upstream.time_major(upstream.shift(x, segments, 8), clips))


def test_shift_takes_the_future_first() -> None:
    x = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 8, 1, 1) + 1  # frames 1, 2, 3
    out = TemporalShift(Shift(3, 8))(x)[:, :, 0, 0]
    assert out[:, 0].tolist() == [2, 3, 0]
    assert out[:, 1].tolist() == [0, 1, 2]
    assert out[:, 2].tolist() == [1, 2, 3]


@pytest.mark.parametrize("clips", [1, 3])
def test_temporal_pool_is_upstreams(clips: int) -> None:
    x = torch.randn(clips * 8, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    ours = TemporalPool(8)(upstream.time_major(x, clips))
    pooled = upstream.temporal_pool(x, 8)
    assert torch.equal(ours, upstream.time_major(pooled, clips))


def test_non_local_attends_within_a_clip_only() -> None:
    torch.manual_seed(0)
    layer = NonLocalBlock(16, 4, NonLocal()).eval()
    nn.init.normal_(layer.bn.weight)
    x = torch.randn(2 * 4, 16, 6, 6)
    with torch.no_grad():
        together = layer(upstream.time_major(x, 2))
        alone = layer(x[:4])
    assert torch.allclose(together[0::2], alone, atol=1e-5)
