"""Checkpoints as upstream writes them, and upstream's layers as its papers and code describe them.

The layers here are an independent second implementation: batch-major frames, 5-D views and slice
assignment, as in mit-han-lab/temporal-shift-module, against the time-major one of `converters`.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.classifier import VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints.writer import upstream_names


def upstream_state(
    arch: str, *, classes: int = 5, seed: int = 1, **kind: Any
) -> OrderedDict[str, Tensor]:
    """Random weights under upstream's names, batch statistics included."""
    network = topology(arch, **kind)
    model = VideoClassifier(network, classes, Shift(segments=8, div=8))
    initialize(model, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.weight.data *= 2.5  # else the signal dies out before the last layer
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.4, 0.9, generator=generator)
    return OrderedDict(upstream_names(network, model.state_dict()))


def write_checkpoint(
    folder: Path, arch: str, *, name: str = "ckpt.best.pth.tar", **kind: Any
) -> Path:
    """Write what upstream's main.py writes: outer dict, `module.` prefix."""
    path = folder / name
    state = upstream_state(arch, **kind)
    torch.save({"epoch": 1, "arch": arch, "state_dict": state, "best_prec1": 1.0}, path)
    return path


def shift(x: Tensor, segments: int, div: int) -> Tensor:
    """ops/temporal_shift.py `TemporalShift.shift` on batch-major (N*T, C, H, W)."""
    nt, c, h, w = x.shape
    x = x.view(nt // segments, segments, c, h, w)
    fold = c // div
    out = torch.zeros_like(x)
    out[:, :-1, :fold] = x[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    return out.view(nt, c, h, w)


def temporal_pool(x: Tensor, segments: int) -> Tensor:
    """ops/temporal_shift.py `TemporalPool.temporal_pool` on batch-major (N*T, C, H, W)."""
    nt, c, h, w = x.shape
    x = x.view(nt // segments, segments, c, h, w).transpose(1, 2)
    x = F.max_pool3d(x, kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
    return x.transpose(1, 2).contiguous().view(nt // 2, c, h, w)


def time_major(x: Tensor, clips: int) -> Tensor:
    """(N*T, …) to (T*N, …)."""
    return x.view(clips, -1, *x.shape[1:]).transpose(0, 1).reshape(x.shape)
