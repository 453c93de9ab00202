"""Parallel branches of convolutions and norms, added into one convolution (re-parameterization)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_tsm.errors import CheckpointError

Branch = tuple[Tensor, Tensor]  # weight (O, I/groups, k, k), bias (O,)
EPSILON = 1e-5  # of every norm in the code bases known here


def fold_norm(names: Mapping[str, Tensor], conv: str | None, norm: str) -> Branch:
    """Return weight and bias of a convolution with its batch norm folded in.

    Without `conv` the norm alone is a depthwise 1x1 convolution.

    Raises:
        CheckpointError: a part is missing, or the parts do not fit each other.
    """
    keys = [f"{norm}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")]
    missing = [key for key in (*keys, *([f"{conv}.weight"] if conv else [])) if key not in names]
    if missing:
        raise CheckpointError(f"missing: {', '.join(missing[:3])}")
    gamma, beta, mean, variance = (names[key] for key in keys)
    weight = names[f"{conv}.weight"] if conv else torch.ones(*gamma.shape[:1], 1, 1, 1)
    if weight.ndim != 4 or any(t.shape != weight.shape[:1] for t in (gamma, beta, mean, variance)):
        raise CheckpointError(f"{norm}: convolution and batch norm do not fit each other")
    factor = gamma / torch.sqrt(variance + EPSILON)
    return weight * factor[:, None, None, None], beta - mean * factor


def add_branches(branches: list[Branch]) -> Branch:
    """Return one convolution that does what all branches do together; kernels are centered."""
    size = max(weight.shape[-1] for weight, _ in branches)
    shapes = {weight.shape[:2] for weight, _ in branches}
    if len(shapes) != 1:
        raise CheckpointError(f"parallel branches have different widths: {sorted(shapes)}")
    weights = [_padded(weight, size) for weight, _ in branches]
    return torch.stack(weights).sum(0), torch.stack([bias for _, bias in branches]).sum(0)


def _padded(weight: Tensor, size: int) -> Tensor:
    pad = (size - weight.shape[-1]) // 2
    return F.pad(weight, (pad, pad, pad, pad))
