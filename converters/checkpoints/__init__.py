"""From a checkpoint file to a topology and canonical weights; one module per code base."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from converters.architectures.classifier import COUNTER
from converters.checkpoints import mmaction2, paddle, upstream
from converters.checkpoints.keys import Reader
from converters.checkpoints.safe_load import read_file
from converters.recipe import Topology
from edge_tsm.bundle.card import checksum
from edge_tsm.errors import CheckpointError, InputError

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (paddle.READER, mmaction2.READER, upstream.READER)
}
"""By name; the first that recognizes a checkpoint's keys reads it."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIX = re.compile(r"^(module\.|_orig_mod\.)+")  # of DataParallel and torch.compile


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: what the network is, and its weights under canonical names."""

    path: Path
    sha256: str
    topology: Topology
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path, kind: str | None = None, *, online: bool = False) -> Checkpoint:
    """Read a checkpoint; its code base is recognized from the keys unless `kind` names it.

    With `online` a file whose keys are those of an image classifier is taken for an online model.

    Raises:
        CheckpointError: unreadable, unsafe, or not a network that edge-tsm converts.
        InputError: an unknown `kind`.
    """
    outer = read_file(path)
    tensors = _state_dict(outer, path)
    try:
        reader = _reader(tensors, kind)
        topology, canonical = reader.read(tensors, outer, path, online=online)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(path, checksum(path), topology, canonical)


def _reader(tensors: Mapping[str, Tensor], kind: str | None) -> Reader:
    if kind is not None:
        if kind not in READERS:
            raise InputError(f"unknown code base {kind!r}; choose {', '.join(READERS)}")
        return READERS[kind]
    for reader in READERS.values():
        if reader.recognizes(tensors):
            return reader
    shown = ", ".join(list(tensors)[:3])
    raise CheckpointError(f"no TSM network is known with names like {shown}")


def _state_dict(outer: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name, whatever wraps them, without counters and without `module.`."""
    inner = outer
    if isinstance(outer, Mapping):
        inner = next((outer[name] for name in _WRAPPERS if name in outer), outer)
    if not isinstance(inner, Mapping) or not all(isinstance(key, str) for key in inner):
        raise CheckpointError(f"{path}: holds {type(inner).__name__}, not a state dict of tensors")
    found = {
        name: value
        for name, value in inner.items()
        if isinstance(value, Tensor) and not name.endswith(COUNTER)
    }
    odd = [
        name
        for name, t in found.items()
        if t.layout != torch.strided or t.is_quantized or t.is_meta
    ]
    if odd:
        raise CheckpointError(f"{path}: {odd[0]} is sparse, quantized or empty; pass float weights")
    tensors = {_PREFIX.sub("", name): value for name, value in found.items()}
    if len(tensors) != len(found):
        raise CheckpointError(f"{path}: duplicate weights, with and without `module.`")
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors; the keys are {', '.join(inner)[:80]!r}")
    return tensors
