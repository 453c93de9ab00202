"""Checkpoints in the format of mit-han-lab/temporal-shift-module, which its own code loads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from converters.architectures.base import FrameNetwork, Namer
from converters.checkpoints.keys import Tensors
from edge_tsm.errors import CheckpointError


def upstream_names(network: FrameNetwork, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return canonical weights under the names upstream's own code loads (with `module.`).

    Raises:
        CheckpointError: upstream's code cannot build the network.
    """
    namer = _namer(network)
    return {
        f"module.{_upstream_name(namer, name)}": (
            tensor[..., None] if ".nl." in name and tensor.ndim == 4 else tensor
        )
        for name, tensor in tensors.items()
    }


def refuse_strangers(network: FrameNetwork) -> None:
    """Refuse a network that upstream's code cannot build.

    Raises:
        CheckpointError: it names the network.
    """
    _namer(network)


def _namer(network: FrameNetwork) -> Namer:
    namer = network.upstream_namer
    if namer is None:
        raise CheckpointError(
            f"upstream's format holds ResNet and MobileNetV2, and no {network.name}"
        )
    return namer


def _upstream_name(namer: Namer, name: str) -> str:
    if name.startswith("head."):
        return name.replace("head", "new_fc")
    return f"base_model.{namer(name.removeprefix('backbone.'))}"
