"""From a checkpoint file to a topology and canonical weights; one module per code base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from converters.checkpoints import mit
from converters.checkpoints.file import read_file
from converters.models import COUNTER
from converters.recipe import Topology
from edge_tsm.card import checksum
from edge_tsm.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: what the network is, and its weights under canonical names."""

    path: Path
    sha256: str
    topology: Topology
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any known code base; the kind is recognised from its content.

    Raises:
        CheckpointError: unreadable, unsafe, or not a network that edge-tsm converts.
    """
    outer = read_file(path)
    tensors = _state_dict(outer, path)
    try:
        if not mit.recognizes(tensors):
            raise CheckpointError(_unknown(tensors))
        topology, canonical = mit.read(tensors, outer, path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(path, checksum(path), topology, canonical)


def _state_dict(outer: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name, whatever wraps them, without counters and without `module.`."""
    inner = outer.get("state_dict", outer) if isinstance(outer, Mapping) else outer
    if not isinstance(inner, Mapping) or not all(isinstance(key, str) for key in inner):
        raise CheckpointError(f"{path}: holds {type(inner).__name__}, not a state dict of tensors")
    tensors = {
        name.removeprefix("module."): value
        for name, value in inner.items()
        if isinstance(value, Tensor) and not name.endswith(COUNTER)
    }
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors; the keys are {', '.join(inner)[:80]!r}")
    return tensors


def _unknown(tensors: Mapping[str, Tensor]) -> str:
    names = list(tensors)
    if any(name.startswith(("backbone.", "cls_head.")) for name in names):
        return "an mmaction2 (or PaddleVideo) checkpoint; this version converts the official ones"
    shown = ", ".join(names[:3])
    return f"no TSM network is known with names like {shown}"
