"""Networks by upstream's names, and fresh weights for them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from converters.architectures import FAMILIES
from converters.architectures.base import FrameNetwork, ShiftPlace
from edge_tsm.errors import InputError

Mode = Literal["fan_in", "fan_out"]


def topology(
    name: str,
    *,
    shift: ShiftPlace = "blockres",
    non_local: bool = False,
    temporal_pool: bool = False,
) -> FrameNetwork:
    """Return the network upstream builds for `name`, with its rules for where things go.

    >>> topology("resnet101").shifts.count("blockres")
    18

    Raises:
        InputError: an unknown name.
    """
    for family in FAMILIES.values():
        network = family.named(name, shift=shift, non_local=non_local, temporal_pool=temporal_pool)
        if network is not None:
            return network
    known = ", ".join(known for family in FAMILIES.values() for known in family.names)
    raise InputError(f"unknown network {name!r}; choose {known}")


def initialize(model: nn.Module, *, seed: int) -> None:
    """Give convolutions (He) and linear layers fresh weights, to train from scratch."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            # torch counts the fan-out of a depthwise convolution over all groups.
            mode: Mode = "fan_out" if module.groups == 1 else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=mode, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.05, generator=generator)
            nn.init.zeros_(module.bias)
