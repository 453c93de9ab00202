"""The networks upstream can build, by name, and fresh weights for them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from converters.architectures.networks import (
    MOBILENET_V2,
    RESNETS,
    InvertedResidual,
    MobileNet,
    Network,
    ResidualBlock,
    ResNet,
    ShiftPlace,
)
from edge_tsm.errors import InputError

Mode = Literal["fan_in", "fan_out"]


def topology(
    name: str,
    *,
    shift: ShiftPlace = "blockres",
    non_local: bool = False,
    temporal_pool: bool = False,
) -> Network:
    """Return the network upstream builds for `name`, with its rules for where things go.

    Source: ops/temporal_shift.py (`make_temporal_shift`), ops/non_local.py (`make_non_local`).

    Raises:
        InputError: an unknown name.
    """
    if name == "mobilenetv2":
        return mobilenet_v2(shift=shift != "none")
    if name not in RESNETS:
        raise InputError(f"network {name!r} is unknown; choose mobilenetv2, {', '.join(RESNETS)}")
    counts, bottleneck = RESNETS[name]
    # Deep networks are shifted in every second block, `blockres` only.
    every = 2 if shift == "blockres" and counts[2] >= 23 else 1
    stages = tuple(
        tuple(
            ResidualBlock(
                shift if index % every == 0 else "none",
                non_local=non_local and (stage, index) in {(1, 0), (1, 2), (2, 0), (2, 2), (2, 4)},
            )
            for index in range(count)
        )
        for stage, count in enumerate(counts)
    )
    return ResNet(bottleneck, 64, stages, temporal_pool)


def mobilenet_v2(*, shift: bool = True, width: float = 1.0, last: int = 1280) -> MobileNet:
    """Return a MobileNetV2 whose channels are `width` times the usual, in steps of eight.

    Source: upstream's archs/mobilenet_v2.py (`make_divisible`). `last` is the
    width before the head.
    """
    inputs = stem = _divisible(32 * width)
    blocks = []
    for expansion, usual, repeats, first_stride in MOBILENET_V2:
        channels = _divisible(usual * width)
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            shifted = shift and stride == 1 and inputs == channels and expansion > 1
            hidden = inputs * expansion
            blocks.append(
                InvertedResidual(inputs, hidden, channels, stride, expansion > 1, shifted)
            )
            inputs = channels
    return MobileNet("mobilenetv2", stem, tuple(blocks), last)


def _divisible(channels: float) -> int:
    return max(8, int(channels + 4) // 8 * 8)


def initialize(model: nn.Module, *, seed: int) -> None:
    """Give convolutions (He) and linear layers fresh weights, to train from scratch."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # torch counts the fan-out of a depthwise convolution over all groups.
            mode: Mode = "fan_out" if module.groups == 1 else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=mode, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.05, generator=generator)
            nn.init.zeros_(module.bias)
