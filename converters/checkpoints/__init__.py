"""From a checkpoint file to a topology and canonical weights; one module per code base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from converters.architectures.classifier import few
from converters.checkpoints import (
    caffe2,
    foreign,
    mmaction2,
    mmaction2_timesformer,
    paddle,
    paddle_timesformer,
    pyslowfast,
    pytorchvideo,
    timesformer,
    transformers,
    upstream,
)
from converters.checkpoints.inert import Inert
from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.safe_load import read_file
from converters.checkpoints.search import Fit, choose, find_networks
from converters.facts import Fact
from converters.recipe import Topology
from edge_tsm.bundle.card import checksum
from edge_tsm.errors import CheckpointError, InputError

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        *(paddle.READER, mmaction2.READER),
        *(pyslowfast.READER, caffe2.READER, pytorchvideo.READER),
        *(paddle_timesformer.READER, mmaction2_timesformer.READER),
        *(timesformer.READER, transformers.READER),
        upstream.READER,
    )
}
"""By name; the first that recognizes a network's names, and in which it is whole, reads it."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: what the network is, and its weights under canonical names."""

    path: Path
    sha256: str
    topology: Topology
    tensors: dict[str, Tensor]


def read_checkpoint(
    path: Path, kind: str | None = None, *, online: bool = False, weights: str | None = None
) -> Checkpoint:
    """Find and read the network in a checkpoint, wherever in the file it lies.

    Args:
        path: the file, or a model folder of transformers.
        kind: the code base; by default it is recognized from the names.
        online: take names that show no shift for those of an online model.
        weights: which network of several: a key, a prefix, `ema` or `raw`.

    Raises:
        CheckpointError: unreadable, unsafe, or not a network that edge-tsm converts; several
            networks, and no `weights`.
        InputError: an unknown `kind`; `weights` that name none.
    """
    readers = _readers(kind)
    if path.is_dir():
        path = transformers.weights_in(path) or path
    content = read_file(path)
    outer = _outer(content)

    def read(reader: Reader, names: Tensors) -> tuple[Topology, Tensors]:
        return reader.read(names, outer, path, online=online)

    try:
        fit = choose(find_networks(content, readers, read), weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}{foreign.part_of_many(path)}") from error
    topology = replace(fit.topology, weights=_where(fit, weights))
    return Checkpoint(path, checksum(path), topology, fit.tensors)


def _readers(kind: str | None) -> list[Reader]:
    if kind is None:
        return list(READERS.values())
    chosen = [r for name, r in READERS.items() if name == kind or name.startswith(f"{kind}-")]
    if not chosen:
        raise InputError(f"unknown code base {kind!r}; choose {', '.join(READERS)}")
    return chosen


def _outer(content: Any) -> Mapping[str, Any]:
    """Return what a file holds by name, at its top and one level below."""
    fields = content.fields if isinstance(content, Inert) else content
    if not isinstance(fields, Mapping):
        return {}
    return {name: value for name, value in fields.items() if isinstance(name, str)}


def _where(fit: Fit, weights: str | None) -> Fact[str]:
    unused = f"; not used: {few(fit.unused)}" if fit.unused else ""
    source = f"option --weights {weights}" if weights else "the only network in the file"
    return Fact(f"{fit.where}{unused}", source)
