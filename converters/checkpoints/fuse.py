"""Parallel branches of convolutions and norms, added into one convolution (re-parameterization)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_tsm.errors import CheckpointError

Branch = tuple[Tensor, Tensor]  # weight (O, I/groups, k, k), bias (O,)
EPSILON = 1e-5  # of every norm in the code bases known here
_NORM = ("running_mean", "running_var", "weight", "bias")


def fold_norm(names: Mapping[str, Tensor], conv: str | None, norm: str) -> Branch:
    """Return weight and bias of a convolution with its batch norm folded in.

    Without `conv` the norm alone is a depthwise 1x1 convolution.

    Raises:
        CheckpointError: a part is missing, or the parts do not fit each other.
    """
    keys = [*(f"{norm}.{part}" for part in _NORM), *([f"{conv}.weight"] if conv else [])]
    missing = [key for key in keys if key not in names]
    if missing:
        raise CheckpointError(f"missing: {', '.join(missing[:3])}")
    mean, var, gamma, beta, *given = (names[key] for key in keys)
    weight = given[0] if given else torch.ones(*gamma.shape[:1], 1, 1, 1)
    if weight.ndim != 4 or any(t.shape != weight.shape[:1] for t in (mean, var, gamma, beta)):
        raise CheckpointError(f"{norm}: convolution and batch norm do not fit each other")
    return fuse_conv_bn_weights(weight, None, mean, var, EPSILON, gamma, beta)


def add_branches(branches: list[Branch]) -> Branch:
    """Return one convolution that does what all branches do together; kernels are centered."""
    shapes = {weight.shape[:2] for weight, _ in branches}
    if len(shapes) != 1:
        raise CheckpointError(f"parallel branches have different widths: {sorted(shapes)}")
    size = max(weight.shape[-1] for weight, _ in branches)
    pads = [(size - weight.shape[-1]) // 2 for weight, _ in branches]
    weights = [F.pad(w, (pad,) * 4) for (w, _), pad in zip(branches, pads, strict=True)]
    return torch.stack(weights).sum(0), torch.stack([bias for _, bias in branches]).sum(0)
